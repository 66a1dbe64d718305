"""From a row of options to a dataset folder: pools, duplicates, hashes, manifest."""

from __future__ import annotations

import os
import re
from pathlib import Path

import numpy as np

from bench.data import duplicates
from bench.data.dataset import Dataset, content_hash, joint_hash, open_dataset
from bench.data.options import DatasetOptions
from bench.data.pools import Pool, Record, import_pools
from bench.data.procedural import TEST_START, draw, round_to_uint8
from bench.data.storage import ArrayWriter, Rows, keep, publish, workshop
from bench.data.views import View
from bench.support.console import Progress
from bench.support.errors import BenchError
from bench.support.files import write_json, write_text
from bench.support.options import to_dict

POOLS = ("train", "test")
LABELS = ("train_labels.npy", "test_labels.npy")
DRAWN = 256  # procedural images that are drawn together
NAMED = 100  # files that the manifest names; the counts are complete


def sources_folder() -> Path:
    """Return the folder that ``source`` is relative to: ``BENCH_DATA``, or ``data/``."""
    return Path(os.environ.get("BENCH_DATA") or "data")


def build_dataset(
    name: str, options: DatasetOptions, folder: Path, sources: Path | None = None, workers: int = 1
) -> dict:
    """Build a dataset into ``folder`` and return its manifest; the same options give the same bytes.

    ``sources`` is the folder that the option ``source`` is relative to (default :func:`sources_folder`).
    The base of a variant lies beside ``folder``.  Everything is made in a hidden folder there; a kill leaves
    it, and the same call goes on with what was converted.  Raises BenchError for bad sources, a pool too
    small, a folder that cannot be written, and while another process builds the same dataset.
    """
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]*", name):
        raise BenchError(f"A dataset cannot be named {name!r}; use letters, digits, '-' and '_'.")
    sources = sources_folder() if sources is None else Path(sources)
    try:
        with workshop(folder, name) as temporary:
            made = _derive if options.base is not None else _build
            manifest = made(name, options, temporary, sources, workers)
            _check_hash(name, options, manifest)
            write_json(temporary / "manifest.json", manifest)
            files = [f"{pool}.npy" for pool in POOLS] + list(LABELS if manifest["labels"] else ())
            files += ["duplicates.csv"] if options.family is None and options.base is None else []
            gone = {*LABELS, "duplicates.csv"} - set(files)
            publish(temporary, folder, (*files, "manifest.json"), tuple(gone))
    except OSError as error:
        raise BenchError(
            f"Cannot write {folder}: {error.strerror or error}; free space or choose another."
        ) from error
    return manifest


def _check_hash(name: str, options: DatasetOptions, manifest: dict) -> None:
    if options.sha256 is not None and manifest["sha256"] != options.sha256:
        raise BenchError(
            f"{name} has the content hash {manifest['sha256']}, not {options.sha256} as its row says: "
            "source, options or Pillow's decoders are not the same; mend or remove the row's sha256."
        )


def _build(name: str, options: DatasetOptions, folder: Path, sources: Path, workers: int) -> dict:
    record = Record()
    labels = None
    if options.family is not None:
        _draw(folder / "train.npy", options, 0, options.train or 0, name)
        _draw(folder / "test.npy", options, TEST_START, options.test, name)
        pools = _pools(folder)
        found, _ = _find_duplicates(name, options, pools["train"], pools["test"])
    else:
        imported = import_pools(name, options, folder, sources, workers, record)
        found, imported["test"] = _drop_duplicates(name, options, imported, folder)
        labels = _write(imported, folder)
        pools = _pools(folder)
    view = None
    if options.variant is not None:
        view = _view(options, None, list(pools["train"].shape[1:]))
        pools = {p: View(i, options.resolution, options.filter, options.variant) for p, i in pools.items()}
    more = {
        **found,
        "skipped": {"count": len(record.skipped), "files": record.skipped[:NAMED]},
        "sources": record.sources,
    }
    return _manifest(name, options, pools, more, labels, view)


def _pools(folder: Path) -> dict[str, Rows]:
    return {pool: Rows(folder / f"{pool}.npy") for pool in POOLS}


def _draw(path: Path, options: DatasetOptions, start: int, count: int, name: str) -> None:
    shape = (options.resolution, options.resolution, options.channels)
    with (
        ArrayWriter(path, count, shape) as writer,
        Progress(count, f"{name} {path.stem}", "image") as progress,
    ):
        for first in range(0, count, DRAWN):
            images = round_to_uint8(draw(options, start + first, min(DRAWN, count - first)))
            writer.put(first, images)
            progress.advance(len(images))


def _find_duplicates(name: str, options: DatasetOptions, train, test) -> tuple[dict, list]:
    """Compare the pools; return what the manifest says, and (test, train, rms) of each test image to drop.

    Exact ones are always dropped, near ones with ``near_duplicates: drop``.
    """
    same, within = duplicates.exact(train, test)
    near: list[tuple[int, int, float]] = []
    if options.family is None:  # draws of a law are independent, however close
        near = [pair for pair in duplicates.near(train, test) if pair[0] not in same]
    close = {index for index, _, _ in near}
    dropped = near if options.near_duplicates == "drop" else []
    pairs = sorted([(i, j, 0.0) for i, j in same.items()] + near)
    found = {
        "duplicates_dropped": {"exact": len(same), "near": len({index for index, _, _ in dropped})},
        "duplicates_within": within,
        "near_duplicates": {"count": len(close), "limit_rms": duplicates.NEAR},
    }
    return found, pairs


def _drop_duplicates(
    name: str, options: DatasetOptions, pools: dict[str, Pool], folder: Path
) -> tuple[dict, Pool]:
    """Drop test images that are also training images; list all such pairs in ``duplicates.csv``."""
    train, test = pools["train"], pools["test"]
    found, pairs = _find_duplicates(name, options, train.images, test.images)
    lines = ["test,train,rms"]
    for i, j, rms in pairs:
        lines.append(",".join([*(_cell(text) for text in (test.names[i], train.names[j])), f"{rms:.2f}"]))
    write_text(folder / "duplicates.csv", "\n".join(lines) + "\n")
    keep_near = options.near_duplicates == "keep"
    gone = {index for index, _, rms in pairs if rms == 0 or not keep_near}
    if len(gone) == len(test.rows):
        raise BenchError(f"{name}: every test image is also a training image; give another test_source.")
    return found, test.take(np.array([i for i in range(len(test.rows)) if i not in gone], np.int64))


def _cell(text: str) -> str:
    quoted = text.encode("utf-8", "backslashreplace").decode().replace('"', '""')
    return f'"{quoted}"' if any(mark in quoted for mark in ',"\n\r') else quoted


def _write(pools: dict[str, Pool], folder: Path) -> dict | None:
    """Write images and labels of both pools; return what the manifest says about the labels."""
    hashes = {}
    for name, pool in pools.items():
        keep(pool.images, folder / f"{name}.npy")
        if pool.labels is not None:
            np.save(folder / f"{name}_labels.npy", pool.labels)
            hashes[f"{name}_sha256"] = content_hash(pool.labels)
    return {"names": pools["train"].classes, **hashes} if hashes else None


def _derive(name: str, options: DatasetOptions, folder: Path, sources: Path, workers: int) -> dict:
    """Make a variant of the dataset beside this one: links to its files, and a manifest of its own."""
    base = open_dataset(folder.parent / str(options.base), verify=False)
    _check_base(name, options, base)
    for file in ("train.npy", "test.npy", *(LABELS if base.manifest["labels"] else ())):
        (folder / file).unlink(missing_ok=True)
        (folder / file).symlink_to(Path("..", base.folder.name, file))
    pools = {
        pool: View(images, options.resolution, options.filter, options.variant)
        for pool, images in _pools(base.folder).items()
    }
    kept = ("duplicates_dropped", "duplicates_within", "near_duplicates", "skipped", "sources")
    more = {key: base.manifest[key] for key in kept}
    view = _view(options, base.manifest["sha256"], list(base.train.shape[1:]))
    return _manifest(name, options, pools, more, base.manifest["labels"], view)


def _check_base(name: str, options: DatasetOptions, base: Dataset) -> None:
    if base.manifest.get("view"):
        raise BenchError(f"{base.folder} is itself a variant; give {name} the dataset that it is made of.")
    if options.resolution > base.manifest["resolution"]:
        raise BenchError(
            f"{name} has the resolution {options.resolution}, more than the {base.manifest['resolution']} of its "
            f"base {options.base}; import the source again at {options.resolution}."
        )


def _view(options: DatasetOptions, base_hash: str | None, stored: list[int]) -> dict:
    """Return how the pools are seen, for :func:`open_dataset`; ``stored`` is the shape of a stored image."""
    return {
        "base": options.base,
        "base_sha256": base_hash,
        "variant": options.variant,
        "filter": options.filter,
        "stored": stored,
    }


def _manifest(
    name: str, options: DatasetOptions, pools: dict, more: dict, labels: dict | None, view: dict | None
) -> dict:
    hashes = {pool: content_hash(images) for pool, images in pools.items()}
    shape = [options.resolution, options.resolution, options.channels]
    return {
        "name": name,
        "title": options.title,
        "version": options.version,
        "resolution": options.resolution,
        "channels": options.channels,
        **{pool: len(images) for pool, images in pools.items()},
        "sha256": joint_hash(hashes["train"], hashes["test"], shape),
        **{f"{pool}_sha256": value for pool, value in hashes.items()},
        **more,
        "redistribute": options.redistribute,
        "licence": options.licence,
        "home": options.home,
        "labels": labels,
        "view": view,
        "made": to_dict(options),
    }

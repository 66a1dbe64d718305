"""From a row of options to a dataset folder: pools, duplicates, hashes, manifest."""

from __future__ import annotations

import csv
import io
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np

from bench.data import duplicates
from bench.data.dataset import content_hash, joint_hash, open_dataset
from bench.data.options import POOLS, DatasetOptions, check_name
from bench.data.pools import Pool, Record, import_pools
from bench.data.procedural import START, draw, round_to_uint8
from bench.data.storage import ArrayWriter, Rows, publish, workshop
from bench.data.views import seen
from bench.support.console import Progress
from bench.support.errors import BenchError
from bench.support.files import write_json, write_text
from bench.support.fingerprint import fingerprint
from bench.support.options import to_dict

FILES = tuple(f"{pool}.npy" for pool in POOLS)
OPTIONAL = (*(f"{pool}_labels.npy" for pool in POOLS), "duplicates.csv")
BLOCK = 256  # images that are drawn or transformed together
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
    check_name(name)
    sources = sources_folder() if sources is None else Path(sources)
    try:
        with workshop(folder, name) as temporary:
            if options.base is not None:
                more = _derive(name, options, temporary)
            elif options.family is not None:
                more = _draw(name, options, temporary)
            else:
                more = _import(name, options, temporary, sources, workers)
            manifest = _manifest(name, options, temporary, more)
            write_json(temporary / "manifest.json", manifest)
            made = [file for file in OPTIONAL if (temporary / file).exists()]
            gone = set(OPTIONAL) - set(made)
            publish(temporary, folder, (*FILES, *made, "manifest.json"), tuple(gone))
    except OSError as error:
        raise BenchError(
            f"Cannot write {folder}: {error.strerror or error}; free space or choose another."
        ) from error
    open_dataset(folder)  # notes that the content was verified
    return manifest


def _manifest(name: str, options: DatasetOptions, folder: Path, more: dict) -> dict:
    shape = [options.resolution, options.resolution, options.channels]
    pools = {pool: Rows(folder / f"{pool}.npy") for pool in POOLS}
    hashes = {pool: content_hash(images) for pool, images in pools.items()}
    content = joint_hash(hashes["train"], hashes["test"], shape)
    if options.sha256 is not None and content != options.sha256:
        raise BenchError(
            f"{name} has the content hash {content}, not {options.sha256} as its row says: source, options "
            "or Pillow's decoders are not the same; correct or remove the row's sha256."
        )
    return {
        "name": name,
        "title": options.title,
        "version": options.version,
        "resolution": options.resolution,
        "channels": options.channels,
        "dtype": options.dtype,
        **{pool: len(images) for pool, images in pools.items()},
        "sha256": content,
        **{f"{pool}_sha256": value for pool, value in hashes.items()},
        "redistribute": options.redistribute,
        "licence": options.licence,
        "home": options.home,
        "base_sha256": None,
        **more,
        "made": to_dict(options),
        "code": fingerprint(__name__),
    }


def _draw(name: str, options: DatasetOptions, folder: Path) -> dict:
    """Draw the pools of a procedural family; return what the manifest says of them."""
    for pool in POOLS:
        start = START[pool]

        def images(first: int, number: int, start: int = start) -> np.ndarray:
            drawn = draw(options, start + first, number)
            return round_to_uint8(drawn) if options.dtype == "uint8" else drawn

        _write(folder / f"{pool}.npy", getattr(options, pool), options, images, f"{name} {pool}")
    pools = {pool: Rows(folder / f"{pool}.npy") for pool in POOLS}
    repeats, within = duplicates.find(pools, nearly=False)  # draws of a law are independent, however close
    counts = _counts(repeats, within, dropped=set())
    return {"duplicates": counts, "skipped": {"count": 0, "files": []}, "sources": {}, "labels": None}


def _write(
    path: Path, count: int, options: DatasetOptions, images: Callable[[int, int], np.ndarray], title: str
) -> None:
    """Write ``count`` images, block by block: ``images(first, number)`` gives some of them."""
    shape = (options.resolution, options.resolution, options.channels)
    with (
        ArrayWriter(path, count, shape, options.dtype) as writer,
        Progress(count, title, "image") as progress,
    ):
        for first in range(0, count, BLOCK):
            made = images(first, min(BLOCK, count - first))
            writer.put(first, made)
            progress.advance(len(made))


def _import(name: str, options: DatasetOptions, folder: Path, sources: Path, workers: int) -> dict:
    """Import the pools of real images; return what the manifest says of them."""
    record = Record()
    pools = import_pools(name, options, folder, sources, workers, record)
    found = _drop_duplicates(name, options, pools, folder)
    labels = {}
    for pool in POOLS:
        if pool not in pools:
            _write_seen(np.empty((0, 1, 1, 1), np.uint8), folder / f"{pool}.npy", options, name)
            continue
        _write_seen(pools[pool].images, folder / f"{pool}.npy", options, f"{name} {pool}")
        if (values := pools[pool].labels) is not None:
            np.save(folder / f"{pool}_labels.npy", values)
            labels[f"{pool}_sha256"] = content_hash(values)
    return {
        "duplicates": found,
        "skipped": {"count": len(record.skipped), "files": record.skipped[:NAMED]},
        "sources": record.sources,
        "labels": {"names": pools["train"].classes, **labels} if labels else None,
    }


def _drop_duplicates(name: str, options: DatasetOptions, pools: dict[str, Pool], folder: Path) -> dict:
    """Drop the images that two pools share from one of them; list all such pairs in ``duplicates.csv``."""
    kept_first = (
        ("train", "test", "validation") if options.drop_from == "test" else ("test", "validation", "train")
    )
    repeats, within = duplicates.find({pool: pools[pool].images for pool in kept_first if pool in pools})
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(["pool", "image", "other_pool", "other_image", "rms"])
    for pool, i, other, j, rms in repeats:
        names = (
            text.encode("utf-8", "backslashreplace").decode()
            for text in (pools[pool].names[i], pools[other].names[j])
        )
        one, two = names
        table.writerow([pool, one, other, two, f"{rms:.2f}"])
    write_text(folder / "duplicates.csv", text.getvalue())
    keep_near = options.near_duplicates == "keep"
    dropped = {(r.pool, r.index) for r in repeats if r.rms == 0 or not keep_near}
    for pool, images in list(pools.items()):
        rows = [i for i in range(len(images.rows)) if (pool, i) not in dropped]
        if not rows:
            raise BenchError(
                f"{name}: every {pool} image is in another pool too; give another source, or another drop_from."
            )
        pools[pool] = images.take(np.array(rows, np.int64))
    return _counts(repeats, within, dropped)


def _counts(repeats: list[duplicates.Repeat], within: dict[str, int], dropped: set[tuple[str, int]]) -> dict:
    """Return how many images of each pool another one holds too, and how many of them were dropped."""
    exact = {(r.pool, r.index) for r in repeats if r.rms == 0}
    near = {(r.pool, r.index) for r in repeats} - exact
    sizes = {
        kind: {pool: sum(p == pool for p, _ in found) for pool in within}
        for kind, found in (("exact", exact), ("near", near), ("dropped", dropped))
    }
    return {**sizes, "within": within, "limit_rms": duplicates.NEAR}


def _derive(name: str, options: DatasetOptions, folder: Path) -> dict:
    """Make a variant of the dataset beside this one; return what the manifest says of it."""
    base = open_dataset(folder.parent / str(options.base))
    _check_base(name, options, base.manifest, base.folder)
    for pool in POOLS:
        _write_seen(getattr(base, pool), folder / f"{pool}.npy", options, f"{name} {pool}")
        if (base.folder / f"{pool}_labels.npy").exists():
            shutil.copyfile(base.folder / f"{pool}_labels.npy", folder / f"{pool}_labels.npy")
    kept = ("duplicates", "skipped", "sources", "labels")
    return {key: base.manifest[key] for key in kept} | {"base_sha256": base.manifest["sha256"]}


def _write_seen(images: np.ndarray | Rows, path: Path, options: DatasetOptions, title: str) -> None:
    """Write images of a pool as the row's variant and at its resolution."""
    _write(path, len(images), options, lambda first, n: seen(images[first : first + n], options), title)


def _check_base(name: str, options: DatasetOptions, base: dict, folder: Path) -> None:
    if base["made"]["base"] or base["made"]["variant"]:
        raise BenchError(f"{folder} is itself a variant; give {name} the dataset that it is made of.")
    if options.resolution > base["resolution"]:
        raise BenchError(
            f"{name} has the resolution {options.resolution}, more than the {base['resolution']} of its base "
            f"{options.base}; import the source again at {options.resolution}."
        )
    if options.channels != base["channels"] and options.variant != "grey":
        raise BenchError(
            f"{name} has {options.channels} channels, its base {options.base} has {base['channels']}; "
            "leave channels out, or set variant: grey."
        )

"""From a row of options to a dataset folder: pools, duplicates, variant, hashes, manifest."""

from __future__ import annotations

import os
import re
from pathlib import Path

import numpy as np

from bench.console import Progress
from bench.data import duplicates, variants
from bench.data.dataset import content_hash, joint_hash
from bench.data.options import DatasetOptions
from bench.data.pools import NAMED, Record, import_pools
from bench.data.procedural import TEST_START, draw, round_to_uint8
from bench.data.storage import ArrayWriter, keep, publish, workshop
from bench.errors import BenchError
from bench.files import write_json
from bench.options import to_dict

POOLS = ("train", "test")
DRAWN = 256  # procedural images that are drawn together


def sources_folder() -> Path:
    """Return the folder that ``source`` is relative to: ``BENCH_DATA``, or ``data/``."""
    return Path(os.environ.get("BENCH_DATA") or "data")


def build_dataset(
    name: str, options: DatasetOptions, folder: Path, sources: Path | None = None, workers: int = 1
) -> dict:
    """Build a dataset into ``folder`` and return its manifest; the same options give the same bytes.

    ``sources`` is the folder that the option ``source`` is relative to (default :func:`sources_folder`).
    Everything is made in a temporary folder beside ``folder``, so a failure or a kill leaves no half dataset.
    Raises BenchError for bad sources, a pool too small, or a folder that cannot be written.
    """
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]*", name):
        raise BenchError(f"A dataset cannot be named {name!r}; use letters, digits, '-' and '_'.")
    sources = sources_folder() if sources is None else Path(sources)
    try:
        with workshop(folder, name) as temporary:
            manifest = _build(name, options, temporary, sources, workers)
            publish(temporary, folder, ("train.npy", "test.npy", "manifest.json"))
    except OSError as error:
        raise BenchError(
            f"Cannot write {folder}: {error.strerror or error}; free space or choose another."
        ) from error
    return manifest


def _build(name: str, options: DatasetOptions, folder: Path, sources: Path, workers: int) -> dict:
    record = Record()
    if options.family is not None:
        _draw(folder / "train.npy", options, 0, options.train or 0, name)
        _draw(folder / "test.npy", options, TEST_START, options.test, name)
    else:
        import_pools(name, options, folder, sources, workers, record)
    found = _drop_duplicates(name, options, folder, record)
    if options.variant is not None:
        for pool in POOLS:
            _transform(folder / f"{pool}.npy", options.variant)
    manifest = _manifest(name, options, folder, record, found)
    if options.sha256 is not None and manifest["sha256"] != options.sha256:
        raise BenchError(
            f"{name} has the content hash {manifest['sha256']}, not {options.sha256} as its row says: "
            "source, options or Pillow's decoders are not the same; mend or remove the row's sha256."
        )
    write_json(folder / "manifest.json", manifest)
    return manifest


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


def _drop_duplicates(name: str, options: DatasetOptions, folder: Path, record: Record) -> dict:
    """Drop test images that are also training images; return counts and the pairs that are near."""
    train, test = (np.load(folder / f"{pool}.npy", mmap_mode="r") for pool in POOLS)
    same, within = duplicates.exact(train, test)
    pairs: list[tuple[int, int, float]] = []
    if options.family is None:  # draws of a law are independent, however close
        others = set(same.tolist())
        pairs = [pair for pair in duplicates.near(train, test) if pair[0] not in others]
    close = {test_index for test_index, _, _ in pairs}
    gone = set(same.tolist()) | (close if options.near_duplicates == "drop" else set())
    if len(gone) == len(test):
        raise BenchError(f"{name}: every test image is also a training image; give another test_source.")
    if gone:
        keep(
            folder / "test.npy", np.array([i for i in range(len(test)) if i not in gone]), folder / "test.npy"
        )
    return {
        "duplicates_dropped": {"exact": len(same), "near": len(gone) - len(same)},
        "duplicates_within": within,
        "near_duplicates": {
            "count": len(close),
            "limit_rms": duplicates.NEAR,
            "pairs": [
                [record.names["test"][i], record.names["train"][j], round(rms, 2)]
                for i, j, rms in pairs[:NAMED]
            ],
        },
    }


def _transform(path: Path, variant: str) -> None:
    images = np.load(path, mmap_mode="r")
    part = path.with_suffix(".part")
    with ArrayWriter(part, len(images), images.shape[1:]) as writer:
        for start in range(0, len(images), DRAWN):
            writer.put(start, variants.apply(images[start : start + DRAWN], variant))
    del images
    part.replace(path)


def _manifest(name: str, options: DatasetOptions, folder: Path, record: Record, found: dict) -> dict:
    pools = {pool: np.load(folder / f"{pool}.npy", mmap_mode="r") for pool in POOLS}
    hashes = {pool: content_hash(images) for pool, images in pools.items()}
    shape = [options.resolution, options.resolution, options.channels]
    return {
        "name": name,
        "title": options.title,
        "resolution": options.resolution,
        "channels": options.channels,
        **{pool: len(images) for pool, images in pools.items()},
        "sha256": joint_hash(hashes["train"], hashes["test"], shape),
        **{f"{pool}_sha256": value for pool, value in hashes.items()},
        **found,
        "skipped": {"count": len(record.skipped), "files": record.skipped[:NAMED]},
        "sources": record.sources,
        "redistribute": options.redistribute,
        "licence": options.licence,
        "home": options.home,
        "labels": None,
        "made": to_dict(options),
    }

"""From a row of options to a dataset folder: pools, hashes, duplicates, manifest."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from bench.console import Progress, say
from bench.data.dataset import content_hash, joint_hash
from bench.data.importers import open_source, stream
from bench.data.options import DatasetOptions
from bench.data.procedural import draw, round_to_uint8
from bench.errors import BenchError
from bench.files import write_json
from bench.options import to_dict
from bench.randomness import numpy_generator

BLOCK = 256


def sources_folder() -> Path:
    """Return the folder that ``source`` is relative to: ``BENCH_DATA``, or ``data/``."""
    return Path(os.environ.get("BENCH_DATA") or "data")


def build_dataset(name: str, options: DatasetOptions, folder: Path) -> dict:
    """Build a dataset into ``folder`` and return its manifest; the same options give the same bytes.

    Everything is made in a temporary folder beside it, so a failure or a kill leaves no half dataset.
    Raises BenchError for bad sources, a pool too small, or a folder that cannot be written.
    """
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{name}."))
    except OSError as error:
        raise BenchError(f"Cannot write {folder.parent}: {error.strerror}; choose a writable folder.") from error
    try:
        manifest = _build(name, options, temporary)
        folder.mkdir(exist_ok=True)
        for file in ("train.npy", "test.npy", "manifest.json"):  # the manifest last: it makes the dataset whole
            (temporary / file).replace(folder / file)
        return manifest
    except OSError as error:
        raise BenchError(f"Cannot write {folder}: {error.strerror or error}; free some space.") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _build(name: str, options: DatasetOptions, folder: Path) -> dict:
    skipped: list[str] = []
    if options.family is not None:
        _write(folder / "train.npy", options, _procedural(options, 0, options.train), options.train, name)
        _write(folder / "test.npy", options, _procedural(options, options.train, options.test), options.test, name)
    else:
        _import(name, options, folder, skipped)
    dropped = _drop_duplicates(folder)
    pools = {pool: np.load(folder / f"{pool}.npy", mmap_mode="r") for pool in ("train", "test")}
    hashes = {pool: content_hash(images) for pool, images in pools.items()}
    shape = [options.resolution, options.resolution, options.channels]
    manifest = {
        "name": name,
        "title": options.title,
        "resolution": options.resolution,
        "channels": options.channels,
        **{pool: len(images) for pool, images in pools.items()},
        "sha256": joint_hash(hashes["train"], hashes["test"], shape),
        **{f"{pool}_sha256": value for pool, value in hashes.items()},
        "duplicates_dropped_from_test": dropped,
        "duplicates_within_train": _repeats(pools["train"]),
        "skipped": skipped,
        "redistribute": options.redistribute,
        "licence": options.licence,
        "home": options.home,
        "made": to_dict(options),
    }
    write_json(folder / "manifest.json", manifest)
    return manifest


def _procedural(options: DatasetOptions, start: int, count: int) -> Iterable[np.ndarray]:
    for first in range(start, start + count, BLOCK):
        yield from round_to_uint8(draw(options, first, min(BLOCK, start + count - first)))


def _write(path: Path, options: DatasetOptions, images: Iterable[np.ndarray], count: int, name: str) -> int:
    """Stream images into ``path``; return how many came (at most ``count``)."""
    file = _array_file(path, (count, options.resolution, options.resolution, options.channels))
    written = 0
    with Progress(count, f"{name} {path.stem}", "image") as progress:
        for image in images:
            file[written] = image
            written += 1
            progress.advance()
    file.flush()
    del file
    if written < count:  # files were skipped
        _keep(path, np.arange(written))
    return written


def _array_file(path: Path, shape: tuple[int, ...]) -> np.memmap:
    """Return a new memory-mapped uint8 array whose space is reserved: a full disk is an error here, not a crash later."""
    file = np.lib.format.open_memmap(path, mode="w+", dtype=np.uint8, shape=shape)
    with path.open("rb+") as handle:
        os.posix_fallocate(handle.fileno(), 0, path.stat().st_size)
    return file


def _keep(path: Path, rows: np.ndarray) -> None:
    """Rewrite an array file with only these rows, block by block."""
    images = np.load(path, mmap_mode="r")
    kept = _array_file(path.with_suffix(".part.npy"), (len(rows), *images.shape[1:]))
    for start in range(0, len(rows), BLOCK):
        kept[start : start + BLOCK] = images[rows[start : start + BLOCK]]
    kept.flush()
    path.with_suffix(".part.npy").replace(path)


def _import(name: str, options: DatasetOptions, folder: Path, skipped: list[str]) -> None:
    source = open_source(sources_folder() / options.source, options.home)
    if options.expected is not None and len(source.names) != options.expected:
        raise BenchError(f"{source.path} holds {len(source.names)} images, {name} has {options.expected}; fetch it whole.")
    count = _write(folder / "train.npy", options, stream(source, options, skipped), len(source.names), name)
    if options.test_source:
        second = open_source(sources_folder() / options.test_source, options.home)
        _write(folder / "test.npy", options, stream(second, options, skipped), len(second.names), name)
        train = np.arange(count)
    else:
        if options.test >= count:
            raise BenchError(f"{source.path} holds {count} images, too few for test = {options.test}; lower it.")
        order = numpy_generator(options.seed, "split").permutation(count)
        test, train = np.sort(order[: options.test]), np.sort(order[options.test :])
        shutil.copyfile(folder / "train.npy", folder / "test.npy")
        _keep(folder / "test.npy", test)
    if options.train is not None and options.train > len(train):
        raise BenchError(f"{source.path} leaves {len(train)} training images, fewer than train = {options.train}.")
    if options.train is not None or not options.test_source:
        _keep(folder / "train.npy", train[: options.train])
    for message in skipped:
        say(f"skipped: {message}")


def _digests(images: np.ndarray) -> list[bytes]:
    return [hashlib.sha256(image.tobytes()).digest() for image in images]


def _repeats(images: np.ndarray) -> int:
    return len(images) - len(set(_digests(images)))


def _drop_duplicates(folder: Path) -> int:
    """Drop test images that are also training images, or stand in test before; return how many."""
    seen = set(_digests(np.load(folder / "train.npy", mmap_mode="r")))
    test, kept = np.load(folder / "test.npy", mmap_mode="r"), []
    for index, key in enumerate(_digests(test)):
        if key not in seen:
            kept.append(index)
            seen.add(key)
    if not kept:
        raise BenchError("Every test image is also a training image; give other images as test_source.")
    if len(kept) < len(test):
        _keep(folder / "test.npy", np.array(kept))
    return len(test) - len(kept)

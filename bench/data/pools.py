"""The train and test pool of imported images: sources found and checked, converted, split."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from bench.console import Progress, say
from bench.data.dataset import content_hash
from bench.data.importers import stream
from bench.data.options import DatasetOptions
from bench.data.sources import Source, open_source
from bench.data.storage import ArrayWriter, keep
from bench.errors import BenchError
from bench.files import sha256
from bench.randomness import numpy_generator

NAMED = 100  # files and pairs that the manifest names; the counts are complete


@dataclass
class Record:
    """What is noted while a dataset is built."""

    skipped: list[str] = field(default_factory=list)
    sources: dict[str, dict] = field(default_factory=dict)
    names: dict[str, list[str]] = field(default_factory=dict)  # pool -> what each image was called


def import_pools(
    name: str, options: DatasetOptions, folder: Path, sources: Path, workers: int, record: Record
) -> None:
    """Convert the sources into ``train.npy`` and ``test.npy``, each in the order of the names.

    The pools are drawn before anything is decoded, so that a capped pool costs what it holds; a file that
    is skipped leaves its pool smaller.
    """
    source = _locate("source", name, options, sources)
    order = numpy_generator(options.seed, "split").permutation(len(source.names))
    if options.test_source:
        test = _locate("test_source", name, options, sources)
        drawn = numpy_generator(options.seed, "test split").permutation(len(test.names))
        rows = _take(drawn, options.test or None, test, "test")
        record.names["test"] = _convert(
            "test_source", test, rows, options, folder / "test.npy", workers, record
        )
        left = order
    else:
        rows, left = _take(order, options.test, source, "test"), order[options.test :]
    train = _take(left, options.train, source, "train")
    chosen = train if options.test_source else np.concatenate([train, rows])
    names = _convert("source", source, chosen, options, folder / "train.npy", workers, record)
    record.names["train"] = names
    if not options.test_source:
        _split(folder, names, {source.names[row] for row in rows}, record)


def _take(order: np.ndarray, count: int | None, source: Source, pool: str) -> np.ndarray:
    if count is not None and count > len(order):
        raise BenchError(
            f"{source.path} has {len(order)} images for {pool}, fewer than {pool} = {count}; lower it."
        )
    if len(order) == 0:
        raise BenchError(f"{source.path} has no images left for {pool}; lower test.")
    return order[:count]


def _split(folder: Path, names: list[str], of_test: set[str], record: Record) -> None:
    """Split ``train.npy`` into both pools."""
    is_test = np.array([name in of_test for name in names])
    for pool, rows in (("test", np.flatnonzero(is_test)), ("train", np.flatnonzero(~is_test))):
        if len(rows) == 0:
            raise BenchError(f"No image of the {pool} pool could be used; {record.skipped[-1]}.")
        keep(folder / "train.npy", rows, folder / f"{pool}.npy")
        record.names[pool] = [names[i] for i in rows]


def _locate(key: str, name: str, options: DatasetOptions, sources: Path) -> Source:
    """Open a source of the row; raises BenchError that says what to put where if it is not there."""
    given = getattr(options, key)
    path = sources / given
    if not path.exists():
        elsewhere = (
            "" if Path(given).is_absolute() else f", or set BENCH_DATA to the folder that holds {given}"
        )
        count = f"{options.expected} images" if key == "source" and options.expected else "images"
        raise BenchError(
            f"{path} does not exist: put the {count} of {name} ({options.title}) there{home_of(options)}, "
            f"as a folder, zip, tar, .npy or .npz{elsewhere}."
        )
    if key == "source" and options.source_sha256 is not None:
        if path.is_dir():
            raise BenchError(
                f"{path} is a folder, but source_sha256 is for one file; give the archive or leave it out."
            )
        if (found := sha256(path)) != options.source_sha256:
            raise BenchError(
                f"{path} has the sha256 {found}, not {options.source_sha256}; "
                f"fetch it again{home_of(options)}."
            )
    source = open_source(path)
    if key == "source" and options.expected is not None and len(source.names) != options.expected:
        raise BenchError(
            f"{path} holds {len(source.names)} images, {name} has {options.expected}; fetch it whole."
        )
    if source.refused and options.on_error == "fail":
        more = f" (and {len(source.refused) - 1} more)" if len(source.refused) > 1 else ""
        raise BenchError(f"{source.refused[0]}{more}; take it out of the source, or set on_error: skip.")
    return source


def home_of(options: DatasetOptions) -> str:
    """Return `` from HOME``, or nothing."""
    return f" from {options.home}" if options.home else ""


def _convert(
    key: str,
    source: Source,
    rows: np.ndarray,
    options: DatasetOptions,
    out: Path,
    workers: int,
    record: Record,
) -> list[str]:
    """Convert these images of a source into ``out``, in the order of their names; return the names."""
    rows = np.sort(rows)
    source = replace(source, names=[source.names[i] for i in rows], keys=[source.keys[i] for i in rows])
    count, failed = len(rows), set()
    for reason in source.refused:
        _fail(reason, options, record)
    shape = (options.resolution, options.resolution, options.channels)
    with (
        ArrayWriter(out, count, shape) as writer,
        Progress(count, f"{options.title} {key}", "image") as progress,
    ):
        for position, outcome in stream(source, options, workers):
            if isinstance(outcome, str):
                _fail(f"{source.shown(position)} {outcome}", options, record)
                failed.add(position)
            else:
                writer.put(position, outcome)
            progress.advance()
    if len(failed) == count:
        raise BenchError(f"None of the {count} images of {source.path} could be used; {record.skipped[-1]}.")
    names = [name for i, name in enumerate(source.names) if i not in failed]
    if failed:
        keep(out, np.array([i for i in range(count) if i not in failed]), out)
    record.sources[key] = {
        "path": getattr(options, key),
        "images": len(names),
        "content_sha256": content_hash(np.load(out, mmap_mode="r")),
    }
    return names


def _fail(message: str, options: DatasetOptions, record: Record) -> None:
    if options.on_error == "fail":
        raise BenchError(f"{message}; mend it or take it out of the source, or set on_error: skip.")
    record.skipped.append(message)
    if len(record.skipped) <= NAMED:
        say(f"skipped: {message}")

"""The train and test pool of imported images: sources found and checked, converted, split."""

from __future__ import annotations

from dataclasses import dataclass, field
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
    """Convert the sources into ``train.npy`` and ``test.npy``, each in the order of the names."""
    names = _convert("source", name, options, sources, folder / "train.npy", workers, record)
    order = numpy_generator(options.seed, "split").permutation(len(names))
    if options.test_source:
        record.names["test"] = _convert(
            "test_source", name, options, sources, folder / "test.npy", workers, record
        )
        train = order
        if options.test:
            _test_draw(options, folder, record)
    else:
        if options.test >= len(names):
            raise BenchError(
                f"{name}: {options.source} has {len(names)} images, too few for test = {options.test}."
            )
        test, train = np.sort(order[: options.test]), order[options.test :]
        keep(folder / "train.npy", test, folder / "test.npy")
        record.names["test"] = [names[i] for i in test]
    if options.train is not None and options.train > len(train):
        raise BenchError(
            f"{name}: {options.source} leaves {len(train)} images, fewer than train = {options.train}."
        )
    train = np.sort(train[: options.train])
    if len(train) < len(names):
        keep(folder / "train.npy", train, folder / "train.npy")
    record.names["train"] = [names[i] for i in train]


def _test_draw(options: DatasetOptions, folder: Path, record: Record) -> None:
    names = record.names["test"]
    if options.test > len(names):
        raise BenchError(
            f"{options.test_source} has {len(names)} images, fewer than test = {options.test}; lower it."
        )
    rows = np.sort(numpy_generator(options.seed, "test split").permutation(len(names))[: options.test])
    keep(folder / "test.npy", rows, folder / "test.npy")
    record.names["test"] = [names[i] for i in rows]


def _locate(key: str, name: str, options: DatasetOptions, sources: Path) -> Source:
    """Open a source of the row; raises BenchError that says what to put where if it is not there."""
    given = getattr(options, key)
    path = sources / given
    if not path.exists():
        count = f"{options.expected} images" if key == "source" and options.expected else "images"
        raise BenchError(
            f"{path} does not exist: put the {count} of {name} ({options.title}) there{home_of(options)}, "
            f"as a folder, zip, tar, .npy or .npz, or set BENCH_DATA to the folder that holds {given}."
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
    key: str, name: str, options: DatasetOptions, sources: Path, out: Path, workers: int, record: Record
) -> list[str]:
    """Convert all images of a source into ``out``, in the order of their names; return the names."""
    source = _locate(key, name, options, sources)
    count, failed = len(source.names), set()
    shape = (options.resolution, options.resolution, options.channels)
    record.skipped += source.refused
    with ArrayWriter(out, count, shape) as writer, Progress(count, f"{name} {key}", "image") as progress:
        for position, outcome in stream(source, options, workers):
            if isinstance(outcome, str):
                _fail(f"{source.shown(position)} {outcome}", options, record)
                failed.add(position)
            else:
                writer.put(position, outcome)
            progress.advance()
    if len(failed) == count:
        raise BenchError(f"None of the {count} images of {source.path} could be used; {record.skipped[-1]}.")
    rows = np.array([i for i in range(count) if i not in failed])
    if failed:
        keep(out, rows, out)
    record.sources[key] = {
        "path": getattr(options, key),
        "images": len(rows),
        "content_sha256": content_hash(np.load(out, mmap_mode="r")),
    }
    return [source.names[i] for i in rows]


def _fail(message: str, options: DatasetOptions, record: Record) -> None:
    if options.on_error == "fail":
        raise BenchError(f"{message}; mend it or take it out of the source, or set on_error: skip.")
    record.skipped.append(message)
    if len(record.skipped) <= NAMED:
        say(f"skipped: {message}")

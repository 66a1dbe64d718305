"""One source to one array of uint8 images, which a killed conversion leaves so that the next goes on."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import PIL

from bench.data.importers import stream
from bench.data.options import DatasetOptions
from bench.data.sources import FolderReader, Source
from bench.data.storage import ArrayWriter
from bench.support.console import Progress, say
from bench.support.errors import BenchError
from bench.support.files import digest, read_json, write_json
from bench.support.fingerprint import fingerprint

NAMED = 100  # files that are named on the way; all are counted
EVERY = 5.0  # seconds between two notes of how far it came


class Journal:
    """How many images, in the order of reading, an array file holds for good, and which failed."""

    def __init__(self, path: Path, key: str) -> None:
        self.path, self.key, self.noted = path, key, time.monotonic()
        found = read_json(path) if path.exists() else {}
        if found.get("key") != key:  # another source, other options: from the start
            found = {"done": 0, "failed": {}}
        self.done: int = found["done"]
        self.failed: dict[int, str] = {int(position): reason for position, reason in found["failed"].items()}

    def advance(self, writer: ArrayWriter) -> None:
        """Count one more image; now and then note how far the file is whole."""
        self.done += 1
        if time.monotonic() - self.noted >= EVERY:
            self.note(writer)

    def note(self, writer: ArrayWriter) -> None:
        """Note how far it came, after all of it is on disk."""
        writer.sync()
        write_json(self.path, {"key": self.key, "done": self.done, "failed": self.failed})
        self.noted = time.monotonic()


def convert(
    source: Source, options: DatasetOptions, out: Path, title: str, workers: int
) -> tuple[np.ndarray, list[str]]:
    """Convert all images of a source into ``out``, image i at row i; return the rows that hold one, and
    one sentence for each image that failed (``on_error: skip``; with ``fail`` the first raises BenchError).

    ``out`` and the journal beside it, left by a killed conversion of the same source, are gone on with.
    """
    journal, count = Journal(out.with_suffix(".json"), _key(source, options)), len(source.names)
    if journal.done:
        say(f"{title}: goes on after {journal.done} of {count} images")
    shape = (options.resolution, options.resolution, options.channels)
    with (
        ArrayWriter(out, count, shape, resume=journal.done > 0) as writer,
        Progress(count, title, "image", start=journal.done) as progress,
    ):
        for position, outcome in stream(source, options, workers, journal.done):
            if isinstance(outcome, str):
                journal.failed[position] = refuse(
                    f"{source.shown(position)} {outcome}", options, len(journal.failed)
                )
            else:
                writer.put(position, outcome)
            journal.advance(writer)
            progress.advance()
        journal.note(writer)
    reasons = [journal.failed[position] for position in sorted(journal.failed)]
    if len(reasons) == count:
        raise BenchError(f"None of the {count} images of {source.path} could be used; {reasons[-1]}.")
    return np.delete(np.arange(count), list(journal.failed)), reasons


def refuse(message: str, options: DatasetOptions, before: int) -> str:
    """Raise BenchError, or with ``on_error: skip`` say what is skipped, the first hundred times."""
    if options.on_error == "fail":
        raise BenchError(f"{message}; mend it or take it out of the source, or set on_error: skip.")
    if before < NAMED:
        say(f"skipped: {message}")
    return message


def _key(source: Source, options: DatasetOptions) -> str:
    """Return what makes a half-written array one of this conversion: source, options, code, decoders."""
    hasher = hashlib.sha256()
    for name in source.names:
        hasher.update(name.encode("utf-8", "surrogateescape") + b"\n")
    for file in _files(source):
        stat = os.stat(file)  # noqa: PTH116 - there may be millions
        hasher.update(f"{stat.st_size} {stat.st_mtime_ns}\n".encode())
    made = (options.resolution, options.channels, options.crop, options.filter, options.on_error)
    return digest([hasher.hexdigest(), made, fingerprint("bench.data.conversion"), PIL.__version__])


def _files(source: Source) -> Iterable[Path | str]:
    if not source.path.is_dir():
        return [source.path]
    if isinstance(source.reader, FolderReader):
        return (os.path.join(source.path, name) for name in source.names)  # noqa: PTH118
    return sorted(source.path.rglob("*"))

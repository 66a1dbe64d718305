"""Arrays of images on disk, written in bounded memory, and folders that are whole or absent."""

from __future__ import annotations

import contextlib
import glob
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType

import numpy as np

BLOCK = 1024


class ArrayWriter:
    """Writes uint8 images of one shape into a ``.npy`` file, each at its place, in any order.

    Not a memory map: on a full disk a write to one kills the process without a word, this raises OSError.
    """

    def __init__(self, path: Path, count: int, shape: tuple[int, int, int]) -> None:
        self.file = path.open("wb")
        header = {"descr": "|u1", "fortran_order": False, "shape": (count, *shape)}
        np.lib.format.write_array_header_1_0(self.file, header)
        self.start, self.next = self.file.tell(), 0
        self.size = int(np.prod(shape))

    def put(self, index: int, images: np.ndarray) -> None:
        """Write one image or several that follow each other, the first at ``index``."""
        if index != self.next:
            self.file.seek(self.start + index * self.size)
        self.file.write(np.ascontiguousarray(images).data)
        self.next = index + images.size // self.size

    def __enter__(self) -> ArrayWriter:
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.file.close()


def keep(source: Path, rows: np.ndarray, out: Path) -> None:
    """Write these rows of an array file, in this order, into ``out`` (which may be the same file)."""
    images = np.load(source, mmap_mode="r")
    part = out.with_suffix(".part")
    with ArrayWriter(part, len(rows), images.shape[1:]) as writer:
        for start in range(0, len(rows), BLOCK):
            writer.put(start, images[rows[start : start + BLOCK]])
    del images
    part.replace(out)


@contextlib.contextmanager
def workshop(folder: Path, name: str) -> Iterator[Path]:
    """Yield a temporary folder beside ``folder``; remove it, and those that killed processes left."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    for old in folder.parent.glob(f".{glob.escape(name)}.*"):
        if old.is_dir() and time.time() - old.stat().st_mtime > 60 and _unowned(old):
            shutil.rmtree(old, ignore_errors=True)
    temporary = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{name}."))
    lock = _lock(temporary)
    try:
        yield temporary
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        if lock is not None:
            os.close(lock)


def _lock(folder: Path) -> int | None:
    """Lock a folder until this process ends; None where another has it or the file system has no locks."""
    try:
        import fcntl

        handle = os.open(folder, os.O_RDONLY)
    except (ImportError, OSError):
        return None
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(handle)
        return None
    return handle


def _unowned(folder: Path) -> bool:
    lock = _lock(folder)
    if lock is not None:
        os.close(lock)
    return lock is not None


def publish(temporary: Path, folder: Path, files: tuple[str, ...]) -> None:
    """Move finished files into ``folder``; the last one makes them whole, so its older version goes first."""
    folder.mkdir(exist_ok=True)
    (folder / files[-1]).unlink(missing_ok=True)
    for file in files:
        with (temporary / file).open("rb+") as handle:
            os.fsync(handle.fileno())
        (temporary / file).replace(folder / file)

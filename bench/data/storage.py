"""Arrays of images on disk, written in bounded memory, and folders that are whole or absent."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType

import numpy as np

from bench.support.console import say
from bench.support.errors import BenchError

RAW = "raw"  # folder of converted sources: all that a killed build leaves to the next


class ArrayWriter:
    """Writes images of one shape into a ``.npy`` file, each at its place, in any order.

    ``resume`` continues an existing file.  Not a memory map: on a full disk a write to one kills the
    process without a word, this raises OSError.
    """

    def __init__(
        self, path: Path, count: int, shape: tuple[int, ...], dtype: str = "uint8", resume: bool = False
    ) -> None:
        self.dtype = np.dtype(dtype)
        self.file = path.open("rb+" if resume else "wb")
        header = {"descr": self.dtype.str, "fortran_order": False, "shape": (count, *shape)}
        np.lib.format.write_array_header_1_0(self.file, header)
        self.start, self.next = self.file.tell(), 0
        self.size = int(np.prod(shape)) * self.dtype.itemsize
        self.end = self.start + count * self.size

    def put(self, index: int, images: np.ndarray) -> None:
        """Write one image or several that follow each other, the first at ``index``."""
        if index != self.next:
            self.file.seek(self.start + index * self.size)
        images = np.ascontiguousarray(images, self.dtype)
        self.file.write(images.data)
        self.next = index + images.nbytes // self.size

    def sync(self) -> None:
        """Return when all that was put is on disk."""
        self.file.flush()
        os.fsync(self.file.fileno())

    def __enter__(self) -> ArrayWriter:
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if kind is None:
            self.file.truncate(self.end)  # whole, also where the last images have no content
            self.sync()
        self.file.close()


class Rows:
    """Some rows of an array file, all by default, copied where they are asked for: (n, ...).

    The file is mapped again each time: pages of a long-lived map would count as this process's memory.
    """

    def __init__(self, path: Path, rows: np.ndarray | None = None) -> None:
        shape = np.load(path, mmap_mode="r").shape
        self.path, self.rows = path, np.arange(shape[0]) if rows is None else rows
        self.shape = (len(self.rows), *shape[1:])

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int | slice | np.ndarray) -> np.ndarray:
        """Return one row, or several as a copy."""
        return np.array(np.load(self.path, mmap_mode="r")[self.rows[index]])


@contextlib.contextmanager
def workshop(folder: Path) -> Iterator[Path]:
    """Yield a hidden folder beside ``folder``, which takes its place if the block succeeds.

    After an error it is removed; a killed or interrupted process leaves it, and the next finds what is in its
    folder ``raw``.  Raises BenchError if another process is at work in it.
    """
    temporary = folder.with_name(f".{folder.name}.part")
    (temporary / RAW).mkdir(parents=True, exist_ok=True)
    lock = os.open(temporary, os.O_RDONLY)
    try:
        if not exclusive(lock) or not temporary.exists():
            raise BenchError(f"Another process is building {folder}; wait until it has ended.")
        for left in temporary.iterdir():
            if left.name != RAW:
                left.unlink()
        try:
            yield temporary
            shutil.rmtree(temporary / RAW)
            if folder.exists():
                shutil.rmtree(folder)
            temporary.rename(folder)
        except Exception:
            shutil.rmtree(temporary, ignore_errors=True)
            raise
    finally:
        os.close(lock)


def exclusive(handle: int) -> bool:
    """Lock an open file or folder until it is closed; return whether nobody else has it.

    Where there are no locks (some network file systems) this is always true.
    """
    try:
        import fcntl

        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except (ImportError, OSError) as error:
        say(f"there are no file locks here ({error}); do not run the same command twice at the same time")
    return True

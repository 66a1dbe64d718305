"""Who trains in a state folder. Torch-free, and no part of what a training depends on."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from bench.support.console import say
from bench.support.errors import BenchError


@contextlib.contextmanager
def lock(folder: Path) -> Iterator[None]:
    """Hold the folder's lock; the kernel frees it with the process, so a killed owner leaves nothing stale.

    Without file locks a warning is printed and the block runs.  Raises BenchError if another process holds it, or the
    folder cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = (folder / "lock").open("a+")
    except OSError as error:
        raise BenchError(f"Cannot write {folder}: {error.strerror}; choose a writable folder.") from error
    with file:
        if not _acquire(file, folder):
            file.seek(0)
            raise BenchError(f"{folder} is being trained by {file.read().strip()}; wait for it or stop it.")
        with contextlib.suppress(OSError):  # a note for the message above
            file.truncate(0)
            file.write(f"process {os.getpid()} on {socket.gethostname()}")
            file.flush()
        yield


def held(folder: Path) -> bool | None:
    """Whether a living process of this host holds the folder's lock; None if there are no file locks."""
    try:
        with (folder / "lock").open() as file:
            return not _flock(file, shared=True)
    except FileNotFoundError:
        return False
    except OSError:
        return None


def _acquire(file: IO, folder: Path, attempts: int = 5) -> bool:
    """Take the lock; try again shortly, since :func:`held` holds it for the moment in which it looks."""
    try:
        for attempt in range(attempts):
            if _flock(file):
                return True
            time.sleep(0.05 * (attempt + 1))
        return False
    except OSError as error:
        say(f"{folder}: no file locks here ({error.strerror}); do not train one run twice at the same time")
        return True


def _flock(file: IO, shared: bool = False) -> bool:
    """Try to lock a file; False if another process has it. Raises OSError if there are no locks."""
    try:
        import fcntl

        fcntl.flock(file, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except ImportError:
        raise OSError(errno.ENOSYS, "this system has none") from None
    return True

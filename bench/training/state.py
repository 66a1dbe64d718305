"""The undeclared state of a run: lock, checkpoints, status. ``.runs/SUITE/RUN/DIGEST/``.

The digest covers everything that the weights depend on, so changed code or options start afresh beside
the old state.  Snakemake deletes the declared outputs of a failed job; it never touches this folder.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import io
import os
import pickle
import re
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from bench.support.console import say
from bench.support.errors import BenchError
from bench.support.files import atomic, write_json
from bench.support.provenance import job_id

KEPT = 2


class Damaged(BenchError):
    """A checkpoint whose bytes are not those that were written."""


_NAME = re.compile(r"step(\d{8})-([0-9a-f]{16})\.pt")


@contextlib.contextmanager
def lock(folder: Path) -> Iterator[None]:
    """Hold the run's lock; the kernel frees it with the process, so a killed owner leaves nothing stale.

    Raises BenchError where another process trains the same run, or the folder cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = (folder / "lock").open("a+")
    except OSError as error:
        raise BenchError(f"Cannot write {folder}: {error.strerror}; choose a writable folder.") from error
    with file:
        if not _acquire(file):
            file.seek(0)
            raise BenchError(f"{folder} is being trained by {file.read().strip()}; wait for it or stop it.")
        file.truncate(0)
        file.write(f"process {os.getpid()} on {socket.gethostname()}")
        file.flush()
        for left in folder.glob(
            ".step*.pt"
        ):  # a process killed while it saved; gigabytes in the paper's sizes
            left.unlink(missing_ok=True)
        yield


def _acquire(file: IO, attempts: int = 5) -> bool:
    """Take the lock; try again shortly, since :func:`held` holds it for the moment in which it looks."""
    for attempt in range(attempts):
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            time.sleep(0.05 * (attempt + 1))
    return False


def held(folder: Path) -> bool:
    """Whether a living process trains in this state folder."""
    try:
        with (folder / "lock").open() as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


def save(folder: Path, step: int, state: dict[str, Any]) -> Path:
    """Write a checkpoint whole or not at all, keep the two newest; its name carries its sha256.

    Raises BenchError where it cannot be written; older checkpoints stay.
    """
    import torch

    buffer = io.BytesIO()
    torch.save(state, buffer)
    data = buffer.getbuffer()
    path = folder / f"step{step:08d}-{hashlib.sha256(data).hexdigest()[:16]}.pt"
    with atomic(path) as temporary:
        temporary.write_bytes(data)
    for old in checkpoints(folder)[KEPT:]:
        old.unlink(missing_ok=True)
    return path


def checkpoints(folder: Path) -> list[Path]:
    """Return the checkpoints of a state folder, newest first."""
    return sorted((p for p in folder.glob("step*.pt") if _NAME.fullmatch(p.name)), reverse=True)


def read(path: Path, digest: str) -> dict[str, Any]:
    """Read one checkpoint, its tensors on the CPU: a run may go on where there is no GPU.

    Raises BenchError where it cannot be read or belongs to another configuration, Damaged where it is damaged.
    """
    import torch

    try:
        data = path.read_bytes()
    except OSError as error:
        raise BenchError(f"The checkpoint {path} cannot be read: {error.strerror}.") from error
    named = _NAME.fullmatch(path.name)
    if named and hashlib.sha256(data).hexdigest()[:16] != named[2]:
        raise Damaged(f"The checkpoint {path} is damaged (its sha256 is not the one in its name); delete it.")
    try:
        state = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except (RuntimeError, EOFError, pickle.UnpicklingError, OSError) as error:
        raise Damaged(f"The checkpoint {path} is damaged ({type(error).__name__}); delete it.") from error
    if not isinstance(state, dict) or state.get("digest") != digest:
        raise BenchError(
            f"The checkpoint {path} belongs to another configuration, dataset or code; leave out --checkpoint."
        )
    return state


def newest(folder: Path, digest: str) -> dict[str, Any] | None:
    """Return the newest whole checkpoint, or None; another is named, and the one before it taken.

    A damaged one is removed; one that cannot be read stays, for the fault may pass.
    """
    for path in checkpoints(folder):
        try:
            return read(path, digest)
        except BenchError as error:
            say(f"{error} Going on from the one before.")
            if isinstance(error, Damaged):
                path.unlink()
    return None


class Status:
    """``status.json``: what ``bench runs`` shows of a run that is going on.

    Rewritten once a second, on a slow disk less often: it may take 1 % of the time, up to once a minute.
    """

    def __init__(self, folder: Path, steps: int) -> None:
        self.path, self.steps, self.written, self.every = folder / "status.json", steps, 0.0, 1.0

    def write(self, state: str, step: int, **values: object) -> bool:
        """Record the state (training, interrupted, failed, done) and the step; False where it was too soon."""
        now = time.time()
        if state == "training" and now - self.written < self.every:
            return False
        self.written = now
        who = {"pid": os.getpid(), "host": socket.gethostname(), "job": job_id()}
        write_json(
            self.path, {"state": state, "step": step, "steps": self.steps, "time": now, **who, **values}
        )
        self.every = min(60.0, max(1.0, 100 * (time.time() - now)))
        return True

"""Checkpoints of a state folder ``.runs/SUITE/RUN/DIGEST/``: whole or absent, the two newest kept.

The digest covers everything that the weights depend on, so changed code or options start afresh beside the old
state.  Snakemake deletes the declared outputs of a failed job; it never touches this folder.  Torch-free: what a
checkpoint holds is the training's.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench.support.console import say
from bench.support.errors import BenchError
from bench.support.files import atomic

KEPT = 2
_NAME = re.compile(r"step(\d{8})-([0-9a-f]{16})\.pt")


class Damaged(BenchError):
    """A checkpoint whose bytes are not those that were written."""


def save(folder: Path, step: int, data: bytes | memoryview) -> Path:
    """Write a checkpoint whole or not at all; its name carries its sha256.

    Raises BenchError if it cannot be written; older checkpoints stay.
    """
    path = folder / f"step{step:08d}-{hashlib.sha256(data).hexdigest()[:16]}.pt"
    with atomic(path) as temporary:
        temporary.write_bytes(data)
    for old in checkpoints(folder)[KEPT:]:
        old.unlink(missing_ok=True)
    return path


def checkpoints(folder: Path) -> list[Path]:
    """Return the checkpoints of a state folder, newest first."""
    return sorted((p for p in folder.glob("step*.pt") if _NAME.fullmatch(p.name)), reverse=True)


def read(path: Path) -> bytes:
    """Return the bytes of a checkpoint; raises BenchError if it cannot be read, Damaged if it was changed."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise BenchError(f"The checkpoint {path} cannot be read: {error.strerror}.") from error
    named = _NAME.fullmatch(path.name)
    if named and hashlib.sha256(data).hexdigest()[:16] != named[2]:
        raise Damaged(f"The checkpoint {path} is damaged (its sha256 is not the one in its name); delete it.")
    return data


def newest(folder: Path, load: Callable[[Path], Any]) -> Any | None:
    """Return the newest whole checkpoint through ``load(path)``, or None.

    A damaged one is removed; one that cannot be read stays, for the fault may pass.  Either is named in the log.
    """
    for path in checkpoints(folder):
        try:
            return load(path)
        except BenchError as error:
            say(f"{error} Using the previous one.")
            if isinstance(error, Damaged):
                path.unlink()
    return None


def sweep(folder: Path) -> None:
    """Delete what a process that was killed while it saved has left; gigabytes for large networks."""
    for left in folder.glob(".step*.pt"):
        left.unlink(missing_ok=True)

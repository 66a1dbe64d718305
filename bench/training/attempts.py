"""What became of each start of a training: ``attempts.json`` beside its checkpoints, and later in ``run.json``."""

from __future__ import annotations

import contextlib
import faulthandler
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType

from bench.support.errors import BenchError
from bench.support.files import read_json, write_json
from bench.support.provenance import job, machine


class Attempt:
    """One start, from its first step to whatever ended it; ``step`` returns the current step.

    A start that was killed cannot record its end. The next one does, from the last heartbeat in ``status.json``.
    """

    def __init__(self, folder: Path, device: str, step: Callable[[], int], batch: int) -> None:
        self.file, self.device, self.step, self.batch = folder / "attempts.json", device, step, batch
        self.rows = _earlier(self.file)
        self.began, self.first = time.time(), step()
        place = machine(device)
        self.about = {key: place[key] for key in ("host", "device", "driver")}

    def __enter__(self) -> Attempt:
        self._write(None)
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        with contextlib.suppress(BenchError):  # a full disk, say: the first error is the one to tell
            self._write("done" if kind is None else f"{kind.__name__}: {error}".splitlines()[0])

    def _write(self, reason: str | None) -> None:
        now, last = time.time(), self.step()
        seconds = now - self.began
        row = {
            "began": self.began,
            "ended": now if reason else None,
            "exit": reason,
            "first_step": self.first,
            "last_step": last,
            "images_per_second": (last - self.first) * self.batch / seconds if last > self.first else None,
            **self.about,
            **job(self.device),
        }
        write_json(self.file, [*self.rows, row])


def starts(folder: Path) -> list[dict]:
    """Return every start of a training in order, as ``attempts.json`` has it; none for a model that is not trained."""
    file = folder / "attempts.json"
    return read_json(file) if file.exists() else []


def _earlier(file: Path) -> list[dict]:
    """Return the rows of earlier starts; the last is closed from the heartbeat where it did not close itself."""
    if not file.exists():
        return []
    rows = read_json(file)
    if rows and rows[-1]["exit"] is None:
        status = file.with_name("status.json")
        known = read_json(status) if status.exists() else {}
        alive = known.get("time", 0) >= rows[-1]["began"]
        rows[-1]["exit"] = "killed (a signal, out of memory, a lost node, or hung)"
        rows[-1]["ended"] = known["time"] if alive else rows[-1]["began"]
        rows[-1]["last_step"] = known["step"] if alive else rows[-1]["first_step"]
    return rows


@contextlib.contextmanager
def watchdog(seconds: float) -> Iterator[Callable[[], None]]:
    """End the process with the stacks of its threads where the yielded call does not come for so many seconds.

    A hung training thereby becomes a failed job, which is started again; 0 waits for ever.
    """
    if seconds <= 0:
        yield lambda: None
        return

    def alive() -> None:
        faulthandler.dump_traceback_later(seconds, exit=True, file=sys.__stderr__)

    alive()
    try:
        yield alive
    finally:
        faulthandler.cancel_dump_traceback_later()

"""``log.json`` of a state folder: each start of a training, with its progress while it runs and what became of it.

Torch-free, and no part of what a training depends on: a log that cannot be read is started afresh, one that cannot be
written leaves the training alone.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from bench.support.console import say
from bench.support.errors import BenchError
from bench.support.files import read_json, write_json
from bench.support.provenance import job, machine
from bench.training.lock import held

SILENCE = 300.0  # seconds without a sign; a compilation or a slow disk may take some
RECENT = 24 * 3600.0  # seconds after its last sign in which a training that cannot be seen may still live
KILLED = "killed (a signal, out of memory, a lost node, or hung)"


def starts(folder: Path) -> list[dict]:
    """Return every start of a training in order; none for a model that is not trained."""
    file = folder / "log.json"
    try:
        return read_json(file)["starts"] if file.exists() else []
    except (BenchError, KeyError, TypeError) as error:
        say(f"{file} cannot be read ({type(error).__name__}); starting a new log")
        return []


class Log:
    """One start as a context, from its first step to whatever ended it; ``step`` returns the current step.

    A start that was killed cannot record its end: the next one does, from its last sign.  The file is rewritten once a
    second, on a slow disk less often: it may take 1 % of the time, up to once a minute.
    """

    def __init__(self, folder: Path, device: str, step: Callable[[], int], steps: int, batch: int) -> None:
        self.file, self.device, self.step, self.batch = folder / "log.json", device, step, batch
        self.earlier = [_ended(row) for row in starts(folder)]
        place = machine(device)
        here = {key: place[key] for key in ("host", "device", "driver")}
        self.row = {"began": time.time(), "first_step": step(), "steps": steps, "pid": os.getpid(), **here}
        self.written, self.every, self.told = 0.0, 1.0, False

    def __enter__(self) -> Log:
        self._write("training", None)
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if kind is None:
            self._write("done", "done")
            return
        state = "interrupted" if kind.__name__ in ("Interrupted", "KeyboardInterrupt") else "failed"
        self._write(state, f"{kind.__name__}: {error}".splitlines()[0])

    def beat(self) -> bool:
        """Give a sign of life, unless the last one is recent; return whether it was given."""
        if time.time() - self.written < self.every:
            return False
        self._write("training", None)
        return True

    def _write(self, state: str, reason: str | None) -> None:
        now, last, first = time.time(), self.step(), self.row["first_step"]
        rate = (last - first) / max(now - self.row["began"], 1e-9)
        row = self.row | {
            "state": state,
            "exit": reason,
            "ended": now if reason else None,
            "time": now,
            "last_step": last,
            "images_per_second": rate * self.batch or None,
            "seconds_left": (self.row["steps"] - last) / rate if rate else None,
            **job(self.device),
        }
        self.written = now
        try:
            write_json(self.file, {"starts": [*self.earlier, row]})
        except BenchError as error:
            if not self.told:
                say(f"{error} Training continues without a log.")
            self.told = True
        self.every = min(60.0, max(1.0, 100 * (time.time() - now)))


def _ended(row: dict) -> dict:
    """Close the row of a start that did not close itself."""
    if row["exit"] is not None:
        return row
    return row | {"state": "killed", "exit": KILLED, "ended": row["time"]}


@dataclass(frozen=True)
class Live:
    """One run: ``state`` is not started, training, silent, stopped, interrupted, failed or done.

    ``stopped``: no process holds it; the same command resumes it. ``silent``: its process shows no sign of life.
    ``seconds_left`` and ``images_per_second`` are None if unknown, ``age`` counts seconds since the last sign.
    """

    state: str
    step: int = 0
    steps: int = 0
    images_per_second: float | None = None
    seconds_left: float | None = None
    device: str = ""
    restarts: int = 0
    host: str = ""
    job: str = ""
    age: float | None = None
    reason: str = ""


def look(run_folder: Path, root: Path) -> Live:
    """Return the state of a run, from its folders alone; ``root`` holds its state folders."""
    if (run_folder / "run.json").exists():
        return _done(read_json(run_folder / "run.json"))
    logs = sorted(root.glob("*/log.json"), key=lambda path: path.stat().st_mtime)
    rows = starts(logs[-1].parent) if logs else []
    if not rows:
        return Live("not started")
    row, state = rows[-1], _state(rows[-1], logs[-1].parent)
    return Live(
        state,
        row["last_step"],
        row["steps"],
        row["images_per_second"],
        row["seconds_left"] if row["exit"] is None else None,
        row["device"],
        len(rows) - 1,
        row["host"],
        row["id"] or "",
        time.time() - row["time"],
        row["exit"] if state == "failed" else "",
    )


def in_use(folder: Path) -> str:
    """Say which process trains in a state folder, or may; empty if none does.

    A lock does not reach from host to host on every file system: there a sign of the last day counts.
    """
    locked, rows = held(folder), starts(folder)
    if locked:
        return "a process trains in it"
    if not rows or rows[-1]["exit"] is not None or time.time() - rows[-1]["time"] > RECENT:
        return ""
    elsewhere = rows[-1]["host"] != socket.gethostname()
    return f"a training on {rows[-1]['host']} may still run" if elsewhere or locked is None else ""


def _state(row: dict, folder: Path) -> str:
    if row["exit"] is not None:
        return row["state"]
    here = row["host"] == socket.gethostname()  # some network file systems lock per host
    if here and held(folder) is False:
        return "stopped"
    return "silent" if time.time() - row["time"] > SILENCE else "training"


def _done(record: dict) -> Live:
    steps, made = record["spec"]["training"]["steps"], record["provenance"]
    return Live(
        "done",
        steps,
        steps,
        record["result"]["images_per_second"],
        device=made["device"],
        restarts=max(0, len(record.get("attempts", ())) - 1),
        host=made["host"],
    )

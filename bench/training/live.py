"""How the runs of a suite stand, from their folders alone. Torch-free, and no part of what a training depends on."""

from __future__ import annotations

import socket
import time
from dataclasses import dataclass
from pathlib import Path

from bench.support.files import read_json
from bench.training.state import held

SILENCE = 300.0  # seconds without a heartbeat; a compilation or a slow disk may take some


@dataclass(frozen=True)
class Live:
    """One run: ``state`` is not started, training, silent, stopped, interrupted, failed or done.

    ``stopped``: no process holds it; the same command goes on. ``silent``: its process gives no sign.
    ``seconds_left`` and ``images_per_second`` are None where unknown, ``age`` counts seconds since the last sign.
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
    """Return how a run stands; ``root`` holds its state folders."""
    if (run_folder / "run.json").exists():
        return _done(read_json(run_folder / "run.json"))
    found = sorted(root.glob("*/status.json"), key=lambda path: path.stat().st_mtime)
    if not found:
        return Live("not started")
    status = read_json(found[-1])
    attempts = found[-1].with_name("attempts.json")
    rows = read_json(attempts) if attempts.exists() else []
    going = status["state"] == "training"
    return Live(
        _state(status, found[-1].parent) if going else status["state"],
        status["step"],
        status["steps"],
        status.get("images_per_second"),
        status.get("seconds_left") if going else None,
        rows[-1]["device"] if rows else "",
        max(0, len(rows) - 1),
        status["host"],
        status["job"] or "",
        time.time() - status["time"],
        status.get("reason", ""),
    )


def _state(status: dict, folder: Path) -> str:
    here = status["host"] == socket.gethostname()  # some network file systems lock per host
    if here and not held(folder):
        return "stopped"
    return "silent" if time.time() - status["time"] > SILENCE else "training"


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

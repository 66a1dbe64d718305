"""One Snakemake submits from a folder at a time, also when it was unlocked by hand on another login node."""

from __future__ import annotations

import json
import os
import socket
import time
from pathlib import Path

from snakemake_interface_common.exceptions import WorkflowError

SIGN = 30.0  # seconds between two signs of life
SILENCE = 180.0  # seconds without one, after which an owner on another host counts as gone


class Owner:
    """``owner.json`` in submitit's folder: host, process and last sign of life of the Snakemake that submits.

    Snakemake's own lock refuses a second one until somebody unlocks; whether the first is gone then cannot be seen
    from another host, except by these signs.
    """

    def __init__(self, folder: Path) -> None:
        self.file = folder / "owner.json"
        self.signed = 0.0

    def claim(self) -> None:
        """Become the owner; raises WorkflowError where another lives."""
        known = self._read()
        if known and known["pid"] != os.getpid() and _lives(known):
            raise WorkflowError(
                f"Another Snakemake submits from {self.file.parent}: process {known['pid']} on {known['host']}, last "
                f"sign {max(0.0, time.time() - known['time']):.0f} s ago. Wait for it or stop it; if that host is gone, "
                f"start again {SILENCE / 60:.0f} minutes after its last sign."
            )
        self.sign()

    def sign(self) -> None:
        """Leave a sign of life, at most every SIGN seconds; a full disk does not matter here."""
        if time.monotonic() - self.signed < SIGN and self.signed:
            return
        self.signed = time.monotonic()
        text = json.dumps({"host": socket.gethostname(), "time": time.time(), **_process(os.getpid())})
        temporary = self.file.with_name(f".owner.{os.getpid()}")
        try:
            self.file.parent.mkdir(parents=True, exist_ok=True)
            temporary.write_text(text)
            temporary.replace(self.file)
        except OSError:
            temporary.unlink(missing_ok=True)

    def release(self) -> None:
        """Let the next one in at once."""
        known = self._read()
        if known and known["pid"] == os.getpid() and known["host"] == socket.gethostname():
            self.file.unlink(missing_ok=True)

    def _read(self) -> dict | None:
        try:
            known = json.loads(self.file.read_text())
            return known if {"host", "pid", "began", "time"} <= set(known) else None
        except (OSError, ValueError, TypeError):
            return None


def _process(pid: int) -> dict:
    import psutil

    return {"pid": pid, "began": psutil.Process(pid).create_time()}


def _lives(known: dict) -> bool:
    import psutil

    if known["host"] != socket.gethostname():
        return time.time() - known["time"] < SILENCE
    try:  # a process id is used again some day
        return abs(psutil.Process(known["pid"]).create_time() - known["began"]) < 1
    except psutil.Error:
        return False

"""Files in submitit's folder besides its own: a record of each job that has not ended, and who submits.

Snakemake's own record of external job ids does not serve: a Snakemake on the node registers the same job in the same
place and overwrites it. Only the submitting Snakemake writes here; a job reads in its own record whether it was cancelled.
"""

from __future__ import annotations

import contextlib
import json
import os
import pickle
import socket
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

SIGN = 30.0  # seconds between two signs of life
SILENCE = 180.0  # seconds without one after which an owner on another host counts as gone


@dataclass(frozen=True)
class Record:
    """A submitted job: its outputs as a digest (``key``), submitit's folder, and a digest of its plan (``fingerprint``)."""

    key: str
    name: str
    job_id: str
    cluster: str
    folder: str
    fingerprint: str
    cancelled: bool = False

    def path(self, ending: str) -> Path:
        """Return a file of this job: ``result.pkl``, ``log.out`` or ``log.err``."""
        return Path(self.folder) / f"{self.job_id}_0_{ending}"

    def result(self) -> str | None:
        """Return the traceback that ended the job, "" for a success, None while there is no result."""
        path = self.path("result.pkl")
        try:
            kind, value = pickle.loads(path.read_bytes())
            return "" if kind == "success" else str(value)
        except FileNotFoundError:
            return None
        except (OSError, pickle.UnpicklingError, EOFError, ValueError) as error:
            return f"{path} cannot be read: {error}"


class RecordFolder:
    """One JSON file for each job that has not ended, named by the job's outputs."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def path(self, key: str) -> Path:
        """Return the file of a job."""
        return self.folder / f"{key}.json"

    def read(self, key: str) -> Record | None:
        """Return the record, None if there is none or only part of one."""
        try:
            return Record(**json.loads(self.path(key).read_text()))
        except (OSError, ValueError, TypeError):
            return None

    def job_ids(self) -> set[str]:
        """Return the ids of all jobs on record, those of an earlier Snakemake included."""
        return {record.job_id for path in self.folder.glob("*.json") if (record := self.read(path.stem))}

    def write(self, record: Record) -> None:
        """Write the record; it is whole or absent."""
        self.folder.mkdir(parents=True, exist_ok=True)
        _replace(self.path(record.key), asdict(record))

    def remove(self, key: str) -> None:
        """Forget a job that has ended or was cancelled."""
        self.path(key).unlink(missing_ok=True)


class Owner:
    """``owner.json``: host, process and last sign of life of the one Snakemake that submits from a folder.

    Snakemake's own lock can be removed manually, on another login node too, while the first still runs.
    """

    def __init__(self, folder: Path) -> None:
        self.file = folder / "owner.json"
        self.signed = 0.0

    def other(self) -> str:
        """Describe another Snakemake that submits and lives; "" if there is none."""
        try:
            known = json.loads(self.file.read_text())
            host, pid, began, age = known["host"], known["pid"], known["began"], time.time() - known["time"]
        except (OSError, ValueError, TypeError, KeyError):
            return ""
        here = host == socket.gethostname()
        if (here and (pid == os.getpid() or abs(_began(pid) - began) > 1)) or (not here and age > SILENCE):
            return ""
        wait = "" if here else f"; if that host is gone, wait until {SILENCE / 60:.0f} minutes after that"
        return f"process {pid} on {host}, last sign of life {max(0.0, age):.0f} s ago{wait}"

    def sign(self) -> None:
        """Leave a sign of life, at most every SIGN seconds; a full disk does not matter here."""
        if self.signed and time.monotonic() - self.signed < SIGN:
            return
        self.signed, pid = time.monotonic(), os.getpid()
        sign = {"host": socket.gethostname(), "pid": pid, "began": _began(pid), "time": time.time()}
        with contextlib.suppress(OSError):
            _replace(self.file, sign)

    def release(self) -> None:
        """Let the next Snakemake in, unless the folder belongs to another by now."""
        if not self.other():
            self.file.unlink(missing_ok=True)


def why_unwritable(folder: Path) -> str:
    """Return why no file can be written there (no space, no permission, no such folder), "" where one can."""
    try:
        with tempfile.NamedTemporaryFile(dir=folder, prefix=".probe") as file:
            file.write(bytes(2**16))
            file.flush()
    except OSError as error:
        return f"{folder} cannot be written: {error.strerror}."
    return ""


def _replace(path: Path, content: dict) -> None:
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_text(json.dumps(content, indent=1))
    temporary.replace(path)


def _began(pid: int) -> float:
    """Return when a process of this host began, 0 if there is none: process ids are used again."""
    import psutil

    try:
        return psutil.Process(pid).create_time()
    except psutil.Error:
        return 0.0

"""Records of submitted jobs, by which a later Snakemake finds them again.

Snakemake's own record of the external job id does not serve: the inner run registers the same job in the
same place and overwrites it.
"""

from __future__ import annotations

import hashlib
import json
import os
import pickle
import tempfile
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

from snakemake_interface_executor_plugins.jobs import JobExecutorInterface


@dataclass(frozen=True)
class Record:
    """A submitted job: where its results come (``folder``), and what it was made from (``fingerprint``)."""

    key: str
    name: str
    job_id: str
    cluster: str
    folder: str
    fingerprint: str

    def path(self, ending: str) -> Path:
        """Return a file of this job: ``result.pkl``, ``log.out``, ``log.err`` or ``cancelled``."""
        return Path(self.folder) / f"{self.job_id}_0_{ending}"

    def result(self) -> tuple[str, object] | None:
        """Return ("success", None), ("error", traceback), or None while there is no result."""
        try:
            return pickle.loads(self.path("result.pkl").read_bytes())
        except FileNotFoundError:
            return None
        except (OSError, pickle.UnpicklingError, EOFError) as error:
            return "error", f"{self.path('result.pkl')} cannot be read: {error}"


class Records:
    """One JSON file for each running job, named by its outputs."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def read(self, key: str) -> Record | None:
        """Return the record, or None where there is none (or only a part of one)."""
        try:
            return Record(**json.loads(self._path(key).read_text()))
        except (FileNotFoundError, json.JSONDecodeError, TypeError):
            return None

    def write(self, record: Record) -> None:
        """Write the record; it is whole or absent."""
        self.folder.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=self.folder, prefix=".", suffix=".json")
        with os.fdopen(handle, "w") as file:
            json.dump(asdict(record), file, indent=1)
        Path(name).replace(self._path(record.key))

    def remove(self, key: str) -> None:
        """Forget a job that has ended or was cancelled."""
        self._path(key).unlink(missing_ok=True)

    def _path(self, key: str) -> Path:
        return self.folder / f"{key}.json"


def members(job: JobExecutorInterface) -> Iterable:
    """Return the single jobs of a group, or the job itself."""
    return sorted(job.jobs, key=lambda one: one.rule.name) if job.is_group() else [job]


def outputs(job: JobExecutorInterface) -> list[str]:
    """Return the output files of a job or group, sorted."""
    return sorted(str(file) for one in members(job) for file in one.output)


def key_of(job: JobExecutorInterface) -> str:
    """Return the name of the job's record: what it makes, or what it is where it makes nothing."""
    made = outputs(job) or [f"{one.rule.name} {one.wildcards_dict}" for one in members(job)]
    return _digest(made)


def fingerprint_of(job: JobExecutorInterface) -> str:
    """Return a digest of what the result depends on: rule, command, parameters, and inputs with their times.

    A job that was submitted from another fingerprint must not be attached to: its result would be
    recorded under the new parameters.
    """
    parts = []
    for one in members(job):
        given = sorted((str(file), 0 if _ancient(file) else _stamp(str(file))) for file in one.input)
        parts.append([one.rule.name, one.shellcmd, given, [repr(value) for value in one.params]])
    return _digest(parts)


def planned_code(job: JobExecutorInterface) -> str:
    """Return the ``params: code`` of the plan (comma-separated for a group), empty where a rule has none."""
    codes = {str(getattr(one.params, "code", "")) for one in members(job)}
    return ",".join(sorted(codes - {""}))


def _ancient(file: object) -> bool:
    return bool(getattr(file, "flags", {}).get("ancient"))


def _stamp(name: str) -> int:
    # A folder's own time changes with any file in it; Snakemake keeps a stamp file there
    path = Path(name, ".snakemake_timestamp") if Path(name).is_dir() else Path(name)
    return path.stat().st_mtime_ns if path.exists() else 0


def _digest(value: object) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:24]

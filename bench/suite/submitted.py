"""With which options and code a job was submitted: it may wait for days, and files change meanwhile.

The workflow writes its plan, and the fingerprints of all code in it, before its first job, and names the file in
``BENCH_PLAN``.  Every command of the workflow, and Snakemake on a node, take the options from there; code that has
changed since is refused.  Outside jobs the variable is not set, and the plan is that of the current files.
"""

from __future__ import annotations

import functools
import hashlib
import os
from pathlib import Path

from bench.support import paths
from bench.support.errors import BenchError
from bench.support.files import read_json, sha256
from bench.support.fingerprint import fingerprint

VARIABLE = "BENCH_PLAN"


def plan_file(suite: str | None = None) -> Path | None:
    """Return the file of the submitted plan, if there is one; None if it is of another suite than ``suite``."""
    name = os.environ.get(VARIABLE)
    if not name or suite not in (None, Path(name).parent.name):
        return None
    return Path(name)


def code(*entries: str) -> str:
    """Return the fingerprint of the code behind these modules: as submitted, or as it is now outside a job.

    Raises BenchError where the submitted plan does not know these modules.
    """
    if not (file := plan_file()):
        return fingerprint(*entries)
    if (name := key(*entries)) not in (codes := _plan(file).get("codes", {})):
        raise BenchError(
            f"{file}, with which this job was submitted, has no code of {name}: nothing was run. "
            "Start the same `snakemake` command again to queue it with the code as it is."
        )
    return codes[name]


def key(*entries: str) -> str:
    """Return the name under which a plan keeps the fingerprint of these modules."""
    return " ".join(entries)


@functools.cache
def _plan(file: Path) -> dict:
    return read_json(file)


def files() -> str:
    """Return a hash of all files of the package as they are: where it is the same, no code has changed.

    It takes milliseconds, a fingerprint a third of a second, which every job would pay. Empty if a file went meanwhile.
    """
    found, root = hashlib.sha256(), paths.ROOT / "bench"
    try:
        for path in filter(Path.is_file, sorted(root.rglob("[!.]*.py"))):  # editors keep locks in hidden ones
            found.update(f"{path.relative_to(root)} {sha256(path)}\n".encode())
    except OSError:
        return ""
    return found.hexdigest()[:16]


def check_code(*entries: str) -> None:
    """Raise BenchError if the code behind these modules is no longer what the job was submitted with."""
    if not (file := plan_file()):
        return
    planned, own = code(*entries), any(entry.endswith(".py") for entry in entries)
    if not own and (now := files()) and now == _plan(file).get("files"):
        return
    if planned != (actual := fingerprint(*entries)):
        raise BenchError(
            f"The code changed after this job was submitted (fingerprint {planned} then, {actual} now): nothing was run. "
            "Start the same `snakemake` command again to queue it with the code as it is, or restore the previous code."
        )

"""Which checkpoints of a suite no run would resume from, and what keeps the others."""

from __future__ import annotations

import re
import shutil
import socket
import time
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from bench.suite.plan import Plan
from bench.support import paths
from bench.support.errors import BenchError
from bench.support.files import read_json
from bench.training import state
from bench.training.train import training_digest

RECENT = 24 * 3600  # seconds after its last sign in which a training on another host may still live


class Folder(NamedTuple):
    """One state folder of a run; ``kept`` says why it must stay, and is empty where nothing needs it."""

    path: Path
    bytes: int
    kept: str


def folders(suite: Plan) -> list[Folder]:
    """Return the state folders of the runs that the plan knows; those of other runs are left alone."""
    found = []
    for name, run in suite.runs.items():
        paths_of_run = [p for p in paths.state_root(suite.suite, name).glob("*") if _is_state(p)]
        if not paths_of_run:
            continue
        manifest = paths.dataset_folder(run.dataset) / "manifest.json"
        needed, unknown = None, f"{run.dataset} is not built here, so its data are unknown"
        if manifest.exists():
            needed = training_digest(run, read_json(manifest)["sha256"], suite.code("train", name))
        for path in paths_of_run:
            kept = (
                unknown
                if needed is None
                else "the run resumes from it"
                if path.name == needed
                else _in_use(path)
            )
            found.append(Folder(path, sum(f.stat().st_size for f in path.rglob("*") if f.is_file()), kept))
    return found


def delete(unused: Iterable[Folder]) -> int:
    """Delete state folders, but for those that are in use by now; return the bytes freed."""
    freed = 0
    for folder in unused:
        if not _in_use(folder.path):
            shutil.rmtree(folder.path)
            freed += folder.bytes
    return freed


def _is_state(path: Path) -> bool:
    return path.is_dir() and re.fullmatch("[0-9a-f]{16}", path.name) is not None


def _in_use(folder: Path) -> str:
    """Say who trains in a folder, or may: a lock does not reach from host to host on every file system."""
    if state.held(folder):
        return "a process trains in it"
    try:
        status = read_json(folder / "status.json")
    except BenchError:
        return ""
    age = time.time() - status.get("time", 0)
    elsewhere = status.get("host") != socket.gethostname()
    if status.get("state") == "training" and elsewhere and age < RECENT:
        return f"a training on {status.get('host')} may still run"
    return ""

"""Which checkpoints of a suite no run would resume from, and what keeps the others."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from bench.suite.plan import Plan
from bench.support import paths
from bench.support.files import read_json
from bench.training.log import in_use
from bench.training.train import training_digest


class Folder(NamedTuple):
    """One state folder of a run; ``kept`` says why it must stay, and is empty if nothing needs it."""

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
                else in_use(path)
            )
            found.append(Folder(path, sum(f.stat().st_size for f in path.rglob("*") if f.is_file()), kept))
    return found


def delete(unused: Iterable[Folder]) -> int:
    """Delete state folders, except those that are in use by then; return the bytes freed."""
    freed = 0
    for folder in unused:
        if not in_use(folder.path):
            shutil.rmtree(folder.path)
            freed += folder.bytes
    return freed


def _is_state(path: Path) -> bool:
    return path.is_dir() and re.fullmatch("[0-9a-f]{16}", path.name) is not None

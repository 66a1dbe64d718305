"""Which checkpoints no run of a suite would resume from."""

from __future__ import annotations

from pathlib import Path

from bench.suite.plan import Plan
from bench.support import paths
from bench.support.files import read_json
from bench.training import state
from bench.training.train import training_digest


def clean(suite: Plan) -> int:
    """Delete the state folders of a suite that none of its runs needs; return the bytes freed."""
    return state.clean(_needed(suite), paths.STATE / suite.suite)


def _needed(suite: Plan) -> list[Path]:
    """Return the state folders that the suite's runs, with the current data, options and code, would resume from."""
    needed = []
    for name, run in suite.runs.items():
        manifest = paths.dataset_folder(run.dataset) / "manifest.json"
        if manifest.exists():
            digest = training_digest(run, read_json(manifest)["sha256"], suite.code("train", name))
            needed.append(paths.state_root(suite.suite, name) / digest)
    return needed

"""Why a run would be trained again: the options and the code that changed since."""

from __future__ import annotations

from bench.suite.options import RunSpec
from bench.suite.plan import Plan, entries
from bench.support import paths
from bench.support.files import read_json
from bench.support.fingerprint import changes as code_changes
from bench.support.fingerprint import definitions
from bench.support.options import from_dict
from bench.training.options import recipe_changes


def changes(suite: Plan, run: str) -> list[str]:
    """Return one line for each option and definition that changed since ``run`` was trained, empty if none did."""
    spec = suite.run(run)
    file = paths.run_folder(spec.suite, spec.name) / "run.json"
    if not file.exists():
        return [f"{spec.name} was never trained."]
    record = read_json(file)
    if "adopted" in record:
        return []  # it was trained elsewhere
    now = definitions(*entries("train", spec.model))
    return [
        *(f"code: {change}" for change in code_changes(record["code"]["definitions"], now)),
        *(f"option: {change}" for change in recipe_changes(from_dict(RunSpec, record["spec"]), spec)),
    ]

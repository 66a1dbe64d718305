"""Why a run would be trained again: the options and the code that changed since."""

from __future__ import annotations

import json

from bench.suite.plan import Plan, entries
from bench.support import paths
from bench.support.files import read_json
from bench.support.fingerprint import changes as code_changes
from bench.support.fingerprint import definitions
from bench.training.options import recipe


def changes(suite: Plan, run: str) -> list[str]:
    """Return one line for each option and definition that changed since ``run`` was trained, empty where none did."""
    spec = suite.run(run)
    file = paths.run_folder(spec.suite, spec.name) / "run.json"
    if not file.exists():
        return [f"{spec.name} was never trained."]
    record = read_json(file)
    now = definitions(*entries("train", spec.model))
    options = json.loads(json.dumps(recipe(spec)))
    old = {key: record["spec"].get(key) for key in options}
    return [
        *(f"code: {change}" for change in code_changes(record["code"]["definitions"], now)),
        *_option_changes(old, options),
    ]


def _option_changes(old: dict, new: dict, prefix: str = "") -> list[str]:
    lines = []
    for key in dict.fromkeys([*old, *new]):
        before, after = old.get(key), new.get(key)
        if isinstance(before, dict) and isinstance(after, dict):
            lines += _option_changes(before, after, f"{prefix}{key}.")
        elif before != after:
            lines.append(f"option: {prefix}{key}: {before} -> {after}")
    return lines

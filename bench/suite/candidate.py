"""A new architecture in a suite: the model of a user's file, or another preset, on the grid of the suite. Torch-free.

The environment variable ``BENCH_MODEL`` names it, as JSON: ``{"model": "my_model.py:name", "options": {...},
"training": {...}}``; the workflow sets it from ``--config model=my_model.py:name``.
"""

from __future__ import annotations

import ast
import dataclasses
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bench.suite import config
from bench.suite.grid import Known, run_of
from bench.suite.options import RunSpec, measured
from bench.suite.strict import parse, validate
from bench.support.errors import BenchError, nearest
from bench.support.options import to_dict
from bench.training.options import TrainingOptions

VARIABLE = "BENCH_MODEL"
KEYS = ("model", "options", "training")
SETTINGS = ("suite", *KEYS)  # of a workflow


def to_environment(settings: dict[str, Any]) -> str:
    """Put the candidate that a workflow's settings name into ``BENCH_MODEL``; return its value, '' if there is none.

    Raises BenchError for a setting that is not known, or an option without a model.
    """
    for key in settings:
        if key not in SETTINGS:
            raise BenchError(
                f"--config has no key {key!r}{nearest(key, SETTINGS)}; known: {', '.join(SETTINGS)}."
            )
    given = {key: _values(settings[key], f"--config {key}") for key in KEYS if key in settings}
    if "model" in given:
        os.environ[VARIABLE] = json.dumps(given)
    elif given:
        raise BenchError(f"--config {min(given)} belongs to a model; add model=FILE.py:NAME or a preset.")
    return os.environ.get(VARIABLE, "")


def _values(value: Any, where: str) -> Any:
    """Return a setting as YAML means it: Snakemake hands nested values on as text."""
    if isinstance(value, dict):
        return {key: _values(inner, where) for key, inner in value.items()}
    if isinstance(value, list):
        return [_values(inner, where) for inner in value]
    return parse(value, where) if isinstance(value, str) else value


def from_environment() -> dict[str, Any] | None:
    """Return the candidate that ``BENCH_MODEL`` describes, or None; raises BenchError if it cannot be read."""
    text = os.environ.get(VARIABLE, "")
    if not text:
        return None
    try:
        value = json.loads(text) if text.startswith("{") else {"model": text}
    except json.JSONDecodeError as error:
        raise BenchError(
            f"{VARIABLE} is not valid JSON ({error}); give FILE.py:NAME or a JSON object."
        ) from error
    if unknown := set(value) - set(KEYS):
        raise BenchError(f"{VARIABLE} has the unknown key {min(unknown)!r}; known: {', '.join(KEYS)}.")
    for key in ("options", "training"):
        if not isinstance(value.setdefault(key, {}), dict):
            raise BenchError(f"{key} of the model must be a mapping like {{width: 64}}, not {value[key]!r}.")
    if not isinstance(value.get("model"), str):
        raise BenchError(f"{VARIABLE} names no model; give FILE.py:NAME or a preset of config/models.yaml.")
    return value


def runs_of(
    wanted: dict[str, Any],
    suite: str,
    options: config.SuiteOptions,
    runs: Mapping[str, RunSpec],
    known: Known,
) -> tuple[str, config.ModelPreset, dict[str, RunSpec]]:
    """Return the candidate's name, preset and runs: one for each dataset, N and shuffle that the suite trains.

    Each is trained like the first run that the suite lists there, except for the candidate's own options.  Raises BenchError
    for a file without such a model, a name that the suite has already, or wrong training options.
    """
    name, preset = find_preset(wanted["model"], known.models)
    if name in {run.model.name for run in runs.values()}:
        raise BenchError(f"Suite {suite!r} has a model {name!r} already; give yours another name.")
    preset = dataclasses.replace(preset, options={**preset.options, **wanted["options"]})
    spec, first = preset.spec(name), dict[tuple, TrainingOptions]()
    for run in runs.values():
        if not run.recipe:
            first.setdefault((run.dataset, run.train_size, run.shuffle), run.training)
    new = []
    for (dataset, size, shuffle), own in first.items():
        training = validate(TrainingOptions, {**to_dict(own), **wanted["training"]}, "the model's training")
        new.append(
            run_of(suite, dataset, spec, size, shuffle, "", training=training, measure=options.measure)
        )
    return name, preset, {run.name: measured(run, None, known.datasets, where=None) for run in new}


def find_preset(text: str, models: Mapping[str, config.ModelPreset]) -> tuple[str, config.ModelPreset]:
    """Return name and preset of ``PRESET``, ``FILE.py`` or ``FILE.py:NAME``; raises BenchError if there is none."""
    path, _, name = text.partition(":")
    if not path.endswith(".py"):
        if text not in models:
            raise BenchError(
                f"There is no model preset {text!r}{nearest(text, models)}; give one of config/models.yaml or FILE.py:NAME."
            )
        return text, models[text]
    found = registered(Path(path))
    if not name and len(found) > 1:
        raise BenchError(f"{path} registers {', '.join(found)}; say which one: {path}:{found[0]}.")
    name = name or found[0]
    if name not in found:
        raise BenchError(
            f"{path} registers no model {name!r}{nearest(name, found)}; it has {', '.join(found)}."
        )
    return name, config.ModelPreset(
        family=name, label=name, file=path, source=path, image_size=16, channels=1
    )


def registered(path: Path) -> list[str]:
    """Return the names that a Python file registers, read from its text; raises BenchError for none or for a duplicate."""
    try:
        tree = ast.parse(path.read_text(encoding="utf-8"), filename=str(path))
    except FileNotFoundError:
        raise BenchError(
            f"There is no model file {path}; give the path of a Python file with @register_model."
        ) from None
    except (OSError, SyntaxError, ValueError) as error:  # ValueError: not UTF-8, or null bytes
        raise BenchError(f"{path} cannot be read as Python ({error}); fix the file.") from error
    names = [
        str(call.args[0].value)
        for call in ast.walk(tree)
        if isinstance(call, ast.Call) and ast.unparse(call.func).endswith("register_model")
        if call.args and isinstance(call.args[0], ast.Constant)
    ]
    if not names:
        raise BenchError(f"{path} registers no model; decorate a factory with @register_model('name').")
    for name in names:
        config.check_part(name, f"{path}: a model")
    if twice := {n for n in names if names.count(n) > 1}:
        raise BenchError(
            f"{path} registers the model {min(twice)!r} twice; give one of the two another name."
        )
    return names

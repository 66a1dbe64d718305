"""The configuration: suites, model presets and datasets, read from ``config/``."""

from __future__ import annotations

import dataclasses
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from bench.data.options import OF_VARIANTS, DatasetOptions, check_name
from bench.models.spec import ModelSpec
from bench.suite.options import METRICS, MeasureOptions
from bench.suite.strict import read_yaml, validate
from bench.support.errors import BenchError, nearest
from bench.support.options import STRICT, check, option, required
from bench.support.paths import ROOT
from bench.training.options import TrainingOptions

RESERVED = ("baselines", "datasets", "references", "subsets")  # folders of results/ that are no suite's


def check_part(name: str, what: str) -> None:
    """Raise BenchError, which begins with ``what``, where a name cannot be part of file and run names."""
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", name):
        raise BenchError(
            f"{what} cannot be named {name!r}, as it becomes part of file names; use letters, digits, '-', '_' and '.', "
            "100 at most, the first a letter or digit."
        )


@dataclass(frozen=True)
class ModelPreset:
    """One row of ``config/models.yaml``: an architecture with its options."""

    __pydantic_config__ = STRICT

    family: str | None = option(None, "registered factory; inherited if `extends` is given")
    extends: str | None = option(None, "preset whose family and options this one starts from")
    options: dict[str, Any] = option({}, "keyword options of the factory")
    label: str | None = option(None, "name in figures and tables; default the preset's name")
    baseline: str | None = option(None, "preset that this variant is paired with")
    variant: str | None = option(None, "what differs from the baseline, for legends, for instance 'w/ Local'")
    role: str | None = option(
        None, "what the variant is in a claim or figure, for instance 'local', at any size"
    )
    source: str = option("", "where the definition comes from")
    interpretation: bool = option(False, "the source leaves details open; this is one interpretation")
    file: str | None = option(None, "a user's Python file that registers the family")
    image_size: int = option(32, "resolution the preset is meant for, pixels")
    channels: int = option(3, "image channels the preset is meant for")

    def spec(self, name: str) -> ModelSpec:
        """Return what builds its network, under this name."""
        return ModelSpec(name, str(self.family), self.options, self.file)


@dataclass(frozen=True)
class ItemOptions:
    """What one figure or table shows; null takes all that the suite has."""

    __pydantic_config__ = STRICT

    datasets: list[str] | None = option(None, "datasets, in order")
    models: list[str] | None = option(None, "models, in order")
    train_sizes: list[int] | None = option(None, "training sizes N")
    operator: Literal["eps", "x0"] = option("x0", "Jacobian whose eigenvectors are drawn", "assumed")

    def __post_init__(self) -> None:
        for name in ("datasets", "models", "train_sizes"):
            check(getattr(self, name) != [], f"{name} must not be empty; leave it out to show all")


@dataclass(frozen=True)
class GridOptions:
    """A block of runs: the product of datasets, models, training sizes and shuffles."""

    __pydantic_config__ = STRICT

    datasets: list[str] = required("names from config/datasets.yaml")
    models: list[str] = required("names from config/models.yaml")
    train_sizes: list[int] = required("N, training images")
    shuffles: list[int] = option([0], "seeds of subset, initialisation and noise", "assumed")
    recipe: str = option(
        "", "a name that distinguishes these runs from others of the same dataset, model, N and shuffle"
    )
    half: Literal["a", "b"] = option(
        "a", "b trains on the N images after half a's, from its own seed; `half-b` joins the recipe's name"
    )
    training: dict[str, Any] = option({}, "training options that differ from the suite's")
    measure: list[str] | None = option(None, "measurements of these runs; null takes all of the suite's")

    def __post_init__(self) -> None:
        for name in ("datasets", "models", "train_sizes", "shuffles"):
            values = getattr(self, name)
            check(len(values) > 0, f"{name} must not be empty")
            twice = [value for value in values if values.count(value) > 1]
            check(not twice, f"{name} lists {twice[0] if twice else ''} twice")
        check(all(n >= 1 for n in self.train_sizes), "train_sizes must be positive")
        check(
            all(0 <= s < 2**32 for s in self.shuffles),
            f"shuffles must lie in 0..2^32 - 1, not {self.shuffles}",
        )
        for metric in self.measure or []:
            check(metric in METRICS, f"measure has no metric {metric!r}{nearest(metric, METRICS)}")


@dataclass(frozen=True)
class SuiteOptions:
    """One suite: which runs, how they are trained, what is measured, which figures and tables are drawn."""

    __pydantic_config__ = STRICT

    title: str = required("one line that says what the suite is for")
    runs: list[GridOptions] = required("blocks of runs")
    training: TrainingOptions = option(None, "how all runs are trained")
    measure: MeasureOptions = option(None, "what is measured of each run")
    items: dict[str, ItemOptions] = option({}, "figures and tables, each with what to show")
    half_budget: bool = option(
        False,
        "also train one shuffle of each dataset, model and N for half the steps, to tell which runs have settled",
    )

    def __post_init__(self) -> None:
        check(len(self.runs) > 0, "runs must not be empty")


def folder() -> Path:
    """Return the folder of the configuration: ``BENCH_CONFIG``, or ``config/`` beside the package."""
    return Path(os.environ.get("BENCH_CONFIG") or ROOT / "config")


def load_datasets() -> dict[str, DatasetOptions]:
    """Return the rows of ``config/datasets.yaml``; a row with a base has all that it does not say from it."""
    path = folder() / "datasets.yaml"
    raw = {name: {} if row is None else row for name, row in read_yaml(path).items()}
    for name in raw:
        check_name(name, f"{path}: ")
    rows = {name: _with_base(row, raw, f"{path}: {name}") for name, row in raw.items()}
    return {name: validate(DatasetOptions, row, f"{path}: {name}") for name, row in rows.items()}


def _with_base(row: dict, raw: dict[str, dict], where: str) -> dict:
    if not isinstance(row, dict) or row.get("base") is None:
        return row
    base = row["base"]
    if not isinstance(base, str) or not isinstance(raw.get(base), dict):
        raise BenchError(f"{where}: base: there is no dataset {base!r}{nearest(str(base), raw)}.")
    if raw[base].get("base") or raw[base].get("variant"):
        raise BenchError(f"{where}: base: {base} is itself a variant; give the dataset that it is made of.")
    if own := [key for key in row if key not in OF_VARIANTS]:
        raise BenchError(f"{where}: {own[0]} is that of the base {base}; leave it out.")
    return {key: value for key, value in raw[base].items() if key != "sha256"} | row


def load_models() -> dict[str, ModelPreset]:
    """Return the presets of ``config/models.yaml`` with ``extends`` resolved."""
    path, raw = folder() / "models.yaml", {}
    for name, row in read_yaml(path).items():
        raw[name] = validate(ModelPreset, {} if row is None else row, f"{path}: {name}")
    for name in raw:
        check_part(name, f"{path}: a model")
    return {name: _resolve(name, raw) for name in raw}


def _resolve(name: str, raw: dict[str, ModelPreset], seen: tuple[str, ...] = ()) -> ModelPreset:
    preset, where = raw[name], folder() / "models.yaml"
    if name in seen:
        raise BenchError(f"{where}: {name}: extends itself through {' -> '.join([*seen, name])}.")
    for key in ("extends", "baseline"):
        other = getattr(preset, key)
        if other is not None and other not in raw:
            raise BenchError(f"{where}: {name}: {key} names no preset: {other!r}{nearest(other, raw)}.")
    if preset.extends is None:
        if preset.family is None:
            raise BenchError(f"{where}: {name}: the key 'family' is missing.")
        return dataclasses.replace(preset, label=preset.label or name)
    parent = _resolve(preset.extends, raw, (*seen, name))
    # where a preset has the default, its parent's
    keys = ("family", "source", "file", "image_size", "channels")
    inherited = {k: getattr(parent, k) for k in keys if getattr(preset, k) == getattr(ModelPreset, k)}
    options = {**parent.options, **preset.options}
    return dataclasses.replace(preset, **inherited, options=options, label=preset.label or name)


def suites() -> dict[str, Path]:
    """Return the files of all suites by name: ``config/suites`` and ``config/papers/*/suites``."""
    files = [*folder().glob("suites/[!.]*.yaml"), *folder().glob("papers/*/suites/[!.]*.yaml")]
    found: dict[str, Path] = {}
    for path in sorted(files, key=lambda path: path.stem):
        if (other := found.setdefault(path.stem, path)) != path:
            raise BenchError(f"{other} and {path} are two suites of one name; rename one of them.")
    return found


def suite_path(suite: str) -> Path:
    """Return the file of a suite; raises BenchError with the nearest name."""
    known = suites()
    if suite not in known:
        if (other := folder() / "suites" / f"{suite}.yml").exists():
            raise BenchError(f"The name of a suite's file ends in .yaml; rename {other}.")
        raise BenchError(f"There is no suite {suite!r}{nearest(suite, known)}; known: {', '.join(known)}.")
    return known[suite]


def load_suite(suite: str) -> SuiteOptions:
    """Return one suite, its training and measurement options complete."""
    path = suite_path(suite)
    check_part(suite, f"{path}: a suite")
    if suite in RESERVED:
        raise BenchError(f"{path}: results/{suite} is not a suite's folder; give the suite another name.")
    value = read_yaml(path)
    for key, kind in (("training", TrainingOptions), ("measure", MeasureOptions)):
        value[key] = {} if value.get(key) is None else value[key]
        validate(kind, value[key], f"{path}: {key}")
    return validate(SuiteOptions, value, str(path))

"""Configuration: YAML files, checked strictly against the dataclasses of ``bench.suite.options``.

Everything that is wrong in a file is reported as one sentence that names the file, the key and, for an
unknown key, the nearest known one.  Checking needs pydantic, importing this module does not.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import yaml

import bench
from bench.data.options import OF_VARIANTS, DatasetOptions
from bench.suite.options import METRICS, MeasureOptions
from bench.support.errors import BenchError, nearest
from bench.support.options import STRICT, check, option, required
from bench.training.options import TrainingOptions

if TYPE_CHECKING:
    from pydantic import TypeAdapter


@dataclass(frozen=True)
class ModelPreset:
    """One row of ``config/models.yaml``: an architecture with its options."""

    __pydantic_config__ = STRICT

    family: str | None = option(None, "registered factory; inherited where `extends` is given")
    extends: str | None = option(None, "preset whose family and options this one starts from")
    options: dict[str, Any] = option({}, "keyword options of the factory")
    label: str | None = option(None, "name in figures and tables; default the preset's name")
    baseline: str | None = option(None, "preset that this variant is paired with")
    variant: str | None = option(None, "what differs from the baseline, for legends (say, 'w/ Local')")
    role: str | None = option(None, "what the variant is in a claim or figure (say, 'local'), at any size")
    source: str = option("", "where the definition comes from")
    interpretation: bool = option(False, "the source leaves details open; this is one reading of it")
    file: str | None = option(None, "a user's Python file that registers the family")
    image_size: int = option(32, "resolution the preset is meant for, pixels")
    channels: int = option(3, "image channels the preset is meant for")


@dataclass(frozen=True)
class ItemOptions:
    """What one figure or table shows; null takes all that the suite has."""

    __pydantic_config__ = STRICT

    datasets: list[str] | None = option(None, "datasets, in order")
    models: list[str] | None = option(None, "models, in order")
    train_sizes: list[int] | None = option(None, "training sizes N")
    operator: Literal["eps", "x0"] = option("x0", "Jacobian whose eigenvectors are drawn", "assumed")


@dataclass(frozen=True)
class GridOptions:
    """A block of runs: the product of datasets, models, training sizes and shuffles."""

    __pydantic_config__ = STRICT

    datasets: list[str] = required("names from config/datasets.yaml")
    models: list[str] = required("names from config/models.yaml")
    train_sizes: list[int] = required("N, training images")
    shuffles: list[int] = option([0], "seeds of subset, initialisation and noise", "assumed")
    recipe: str = option(
        "", "a name that tells these runs from others of the same dataset, model, N and shuffle"
    )
    half: Literal["a", "b"] = option(
        "a", "b trains on the N images behind half a's, from its own seed; `half-b` joins the recipe's name"
    )
    training: dict[str, Any] = option({}, "training options that differ from the suite's")
    measure: list[str] | None = option(None, "metrics of these runs; null takes all of the suite")

    def __post_init__(self) -> None:
        for name in ("datasets", "models", "train_sizes", "shuffles"):
            check(len(getattr(self, name)) > 0, f"{name} must not be empty")
        check(all(n >= 1 for n in self.train_sizes), "train_sizes must be positive")
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
    items: dict[str, ItemOptions] = option({}, "figures and tables, each with what it shows")

    def __post_init__(self) -> None:
        check(len(self.runs) > 0, "runs must not be empty")


class _Loader(yaml.SafeLoader):
    """YAML without surprises: 2e-3 is a number and a repeated key is refused."""


_FLOAT = yaml.resolver.Resolver.yaml_implicit_resolvers["."][0][0]  # the tag of floats
_Loader.add_implicit_resolver(
    _FLOAT, re.compile(r"^[-+]?(?:[0-9][0-9_]*)(?:\.[0-9_]*)?[eE][-+]?[0-9]+$"), list("-+0123456789")
)


def _mapping(loader: _Loader, node: yaml.MappingNode) -> dict:
    keys = [loader.construct_object(key) for key, _ in node.value if key.tag != "tag:yaml.org,2002:merge"]
    for key in keys:
        if keys.count(key) > 1:
            raise yaml.constructor.ConstructorError(
                None, None, f"the key {key!r} stands twice", node.start_mark
            )
    return loader.construct_mapping(node, deep=True)


_Loader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _mapping)


def folder() -> Path:
    """Return the folder of the configuration: ``BENCH_CONFIG``, or ``config/`` beside the package."""
    return Path(os.environ.get("BENCH_CONFIG") or Path(bench.__file__).parent.parent / "config")


def read_yaml(path: Path) -> dict:
    """Read one YAML mapping; raises BenchError that names the file."""
    try:
        value = yaml.load(path.read_text(encoding="utf-8"), Loader=_Loader)
    except FileNotFoundError:
        raise BenchError(f"{path} does not exist; give a file or set BENCH_CONFIG to its folder.") from None
    except yaml.YAMLError as error:
        raise BenchError(f"{path} is not valid YAML: {' '.join(str(error).split())}.") from error
    if not isinstance(value, dict):
        raise BenchError(f"{path} must be a mapping of names to values, not {type(value).__name__}.")
    return value


@functools.cache
def _adapter(kind: type) -> TypeAdapter:
    from pydantic import TypeAdapter

    return TypeAdapter(kind)


def validate(kind: type, value: object, where: str) -> Any:
    """Check ``value`` (plain YAML values) against a dataclass; ``where`` names file and key in the error."""
    from pydantic import ValidationError

    try:
        # through JSON, so that strict types still let lists be lists
        return _adapter(kind).validate_json(json.dumps(value), strict=True)
    except ValidationError as error:
        raise BenchError(_sentence(kind, error.errors()[0], where)) from error
    except TypeError as error:
        raise BenchError(f"{where}: {error}; use plain YAML values.") from error


def _fields_at(kind: Any, location: tuple) -> list[str]:
    """Return the option names of the dataclass that ``location`` points into."""
    schema = _adapter(kind).json_schema()
    definitions, node = schema.get("$defs", {}), schema
    for step in (None, *location):
        if step is not None:
            node = (
                node.get("items", {})
                if isinstance(step, int)
                else node.get("properties", {}).get(step, node.get("additionalProperties", {}))
            )
        for choice in node.get("anyOf", []) if isinstance(node, dict) else []:
            node = choice if choice.get("type") != "null" else node
        while isinstance(node, dict) and "$ref" in node:
            node = definitions[node["$ref"].rsplit("/", 1)[-1]]
        if not isinstance(node, dict):
            return []
    return list(node.get("properties", {}))


def _sentence(kind: type, error: dict, where: str) -> str:
    location = [part for part in error["loc"] if part not in ("dataclass", "ModelPreset")]
    key = ".".join(str(part) for part in location)
    if error["type"] == "unexpected_keyword_argument":
        known = _fields_at(kind, tuple(location[:-1]))
        return f"{where}: unknown key {key!r}{nearest(str(location[-1]), known)}; known: {', '.join(known)}."
    if error["type"] == "missing":
        return f"{where}: the key {key!r} is missing."
    message = error["msg"].removeprefix("Value error, ")
    message = message[0].lower() + message[1:]
    got = f" (got {error['input']!r})" if error["type"] != "value_error" else ""
    return f"{where}: {key + ': ' if key else ''}{message}{got}."


def _table(name: str, kind: type) -> dict[str, Any]:
    path = folder() / name
    return {key: validate(kind, value or {}, f"{path}: {key}") for key, value in read_yaml(path).items()}


def load_datasets() -> dict[str, DatasetOptions]:
    """Return the rows of ``config/datasets.yaml``; a row with a base has all that it does not say from it."""
    path = folder() / "datasets.yaml"
    raw = {name: row or {} for name, row in read_yaml(path).items()}
    rows = {name: _with_base(row, raw, f"{path}: {name}") for name, row in raw.items()}
    return {name: validate(DatasetOptions, row, f"{path}: {name}") for name, row in rows.items()}


def _with_base(row: dict, raw: dict[str, dict], where: str) -> dict:
    if not isinstance(row, dict) or row.get("base") is None:
        return row
    base = row["base"]
    if base not in raw:
        raise BenchError(f"{where}: base: there is no dataset {base!r}{nearest(str(base), raw)}.")
    if raw[base].get("base") or raw[base].get("variant"):
        raise BenchError(f"{where}: base: {base} is itself a variant; give the dataset that it is made of.")
    if own := [key for key in row if key not in OF_VARIANTS]:
        raise BenchError(f"{where}: {own[0]} is that of the base {base}; leave it out.")
    return {key: value for key, value in raw[base].items() if key != "sha256"} | row


def load_models() -> dict[str, ModelPreset]:
    """Return the presets of ``config/models.yaml`` with ``extends`` resolved."""
    raw = _table("models.yaml", ModelPreset)
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
    given = {f.name: getattr(preset, f.name) for f in dataclasses.fields(preset)}
    inherited = {
        key: getattr(parent, key)
        for key in ("family", "source", "file", "image_size", "channels")
        if given[key] == next(f.default for f in dataclasses.fields(preset) if f.name == key)
    }
    options = {**parent.options, **preset.options}
    return dataclasses.replace(preset, **inherited, options=options, label=preset.label or name)


def suites() -> dict[str, Path]:
    """Return the files of all suites by name: ``config/suites`` and ``config/papers/*/suites``."""
    files = [*folder().glob("suites/*.yaml"), *folder().glob("papers/*/suites/*.yaml")]
    return {path.stem: path for path in sorted(files, key=lambda path: path.stem)}


def suite_path(suite: str) -> Path:
    """Return the file of a suite; raises BenchError with the nearest name."""
    known = suites()
    if suite not in known:
        raise BenchError(f"There is no suite {suite!r}{nearest(suite, known)}; known: {', '.join(known)}.")
    return known[suite]


def load_suite(suite: str) -> SuiteOptions:
    """Return one suite, its training and measurement options complete."""
    path = suite_path(suite)
    value = read_yaml(path)
    for key, kind in (("training", TrainingOptions), ("measure", MeasureOptions)):
        value.setdefault(key, {})
        validate(kind, value[key], f"{path}: {key}")
    return validate(SuiteOptions, value, str(path))

"""YAML read strictly, and checked against dataclasses: what is wrong is one sentence with file, key and value.

Checking needs pydantic; importing this module does not.
"""

from __future__ import annotations

import copy
import functools
import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from bench.support.errors import BenchError, nearest

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pydantic import TypeAdapter


# libyaml is ten times as fast, and PyYAML may be built without it
_Safe: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _Loader(_Safe):
    """YAML without surprises: 2e-3 is a number, a date is text, a key is text and unique in its mapping."""


_FLOAT, _DATE = "tag:yaml.org,2002:float", "tag:yaml.org,2002:timestamp"
_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in pairs if tag != _DATE]
    for first, pairs in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver(
    _FLOAT, re.compile(r"^[-+]?(?:[0-9][0-9_]*)(?:\.[0-9_]*)?[eE][-+]?[0-9]+$"), list("-+0123456789")
)


def _mapping(loader: _Loader, node: yaml.MappingNode) -> dict:
    seen = set()
    for key, _ in node.value:
        if key.tag == "tag:yaml.org,2002:merge":
            continue
        name = loader.construct_object(key)
        if not isinstance(name, str):
            problem = f"YAML reads the key {key.value} as {_kind(name)}; put it in quotes"
            raise yaml.constructor.ConstructorError(None, None, problem, key.start_mark)
        if name in seen:
            raise yaml.constructor.ConstructorError(None, None, f"duplicate key {name!r}", key.start_mark)
        seen.add(name)
    return loader.construct_mapping(node, deep=True)


_Loader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _mapping)


def _kind(value: object) -> str:
    return {bool: "true or false", type(None): "null"}.get(type(value), "a number")


def read_yaml(path: Path) -> dict[str, Any]:
    """Read one YAML mapping; raises BenchError that names the file."""
    try:
        value = parse(path.read_text(encoding="utf-8"), str(path))
    except FileNotFoundError:
        raise BenchError(f"{path} does not exist; give a file or set BENCH_CONFIG to its folder.") from None
    except (OSError, UnicodeDecodeError) as error:
        raise BenchError(f"{path} cannot be read as text ({error}).") from error
    if value is None:
        raise BenchError(f"{path} is empty; write a mapping of names to values.")
    if not isinstance(value, dict):
        raise BenchError(f"{path} must be a mapping of names to values, not {type(value).__name__}.")
    return value


def parse(text: str, where: str) -> Any:
    """Return the value of a YAML text; raises BenchError that begins with ``where``."""
    try:
        return copy.deepcopy(_parsed(text))
    except yaml.YAMLError as error:
        why = " ".join(str(error).split()).replace(' in "<unicode string>",', " in")
        raise BenchError(f"{where} is not valid YAML: {why}.") from error


@functools.lru_cache(maxsize=64)
def _parsed(text: str) -> Any:
    """Return the value of a YAML text, which takes a second for all models and is asked for by every item."""
    return yaml.load(text, Loader=_Loader)


@functools.cache
def adapter(kind: type) -> TypeAdapter:
    """Return pydantic's checker of a dataclass."""
    from pydantic import TypeAdapter

    return TypeAdapter(kind)


def validate(kind: type, value: object, where: str) -> Any:
    """Check ``value`` (plain YAML values) against a dataclass; ``where`` names file and key in the error."""
    from pydantic import ValidationError

    try:
        # through JSON, so that strict types still let lists be lists
        return adapter(kind).validate_json(json.dumps(value), strict=True)
    except ValidationError as error:
        # an unknown key explains a missing one
        found = sorted(error.errors(), key=lambda one: one["type"] != "unexpected_keyword_argument")
        raise BenchError(_sentence(kind, found[0], where)) from error
    except TypeError as error:
        raise BenchError(f"{where}: {error}; use plain YAML values.") from error


def _sentence(kind: type, error: Mapping[str, Any], where: str) -> str:
    location = [part for part in error["loc"] if part not in ("dataclass", "ModelPreset")]
    key = ".".join(str(part) for part in location)
    if error["type"] == "unexpected_keyword_argument":
        known = _fields_at(kind, tuple(location[:-1]))
        return f"{where}: unknown key {key!r}{nearest(str(location[-1]), known)}; known: {', '.join(known)}."
    if error["type"] == "missing":
        return f"{where}: the key {key!r} is missing."
    message, value = error["msg"].removeprefix("Value error, "), error["input"]
    message = message[0].lower() + message[1:]
    if error["type"] == "string_type" and isinstance(value, (bool, int, float, type(None))):
        message = f"YAML reads {json.dumps(value)} as {_kind(value)}; put text in quotes"
    elif error["type"] != "value_error":
        message += f" (got {value!r})"
    return f"{where}: {key + ': ' if key else ''}{message}."


def _fields_at(kind: Any, location: tuple) -> list[str]:
    """Return the option names of the dataclass that ``location`` points into."""
    schema = adapter(kind).json_schema()
    definitions, node = schema.get("$defs", {}), schema
    for step in (None, *location):
        if isinstance(step, int):
            node = node.get("items", {})
        elif step is not None:
            node = node.get("properties", {}).get(step, node.get("additionalProperties", {}))
        for choice in node.get("anyOf", []) if isinstance(node, dict) else []:
            node = choice if choice.get("type") != "null" else node
        while isinstance(node, dict) and "$ref" in node:
            node = definitions[node["$ref"].rsplit("/", 1)[-1]]
        if not isinstance(node, dict):
            return []
    return list(node.get("properties", {}))

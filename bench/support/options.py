"""How an option is declared: a dataclass field with its meaning and the source of its default.

Each room declares its own options (``bench/data/options.py``, ``bench/training/options.py``, the measurements);
``bench.suite.options`` composes them into a run.  ``bench.suite.config`` validates YAML against them with pydantic; a
worker reads ``run.json`` into the same classes without pydantic.  The ``status`` of an option says where its
default comes from: ``paper`` (read in or recovered from An et al. 2024), ``assumed`` (the paper does not say, or it
could not be read), ``ours``.
"""

from __future__ import annotations

import dataclasses
import functools
import types
import typing
from dataclasses import field
from typing import Any

from bench.support.errors import BenchError

STRICT = {"extra": "forbid"}  # read by pydantic; harmless elsewhere


def option(
    default: Any, help: str, status: str = "ours", least: float | None = None, most: float | None = None
) -> Any:
    """Declare a field with its meaning, the source of its default, and its range (see :func:`check_least`)."""
    metadata = {"description": help, "status": status, "least": least, "most": most}
    if isinstance(default, (list, dict)):
        return field(default_factory=lambda: type(default)(default), metadata=metadata)
    return field(default=default, metadata=metadata)


def required(help: str) -> Any:
    """Declare a field that the user must give."""
    return field(metadata={"description": help, "status": "ours"})


def check(condition: bool, message: str) -> None:
    """Refuse an impossible value (ValueError: ``bench.suite.config`` adds file and key)."""
    if not condition:
        raise ValueError(message)


def check_least(options: Any) -> None:
    """Refuse a number below the least, or above the most, that its field declares."""
    for one in dataclasses.fields(options):
        least, most, value = one.metadata.get("least"), one.metadata.get("most"), getattr(options, one.name)
        if least is not None and isinstance(value, (int, float)):
            check(value >= least, f"{one.name} must be at least {least}, not {value}")
        if most is not None and isinstance(value, (int, float)):
            check(value <= most, f"{one.name} must be at most {most:,}, not {value:,}")


def to_dict(value: Any) -> Any:
    """Return a dataclass as plain JSON values."""
    return dataclasses.asdict(value)


def from_dict(kind: Any, value: Any) -> Any:
    """Rebuild a dataclass of this module from plain JSON values; raises BenchError on unknown keys."""
    if isinstance(kind, types.UnionType):
        inner = [k for k in typing.get_args(kind) if k is not type(None)]
        return None if value is None else from_dict(inner[0], value)
    if not (isinstance(kind, type) and dataclasses.is_dataclass(kind)):
        return value
    hints = _hints(kind)
    if unknown := set(value) - {f.name for f in dataclasses.fields(kind)}:
        raise BenchError(
            f"{kind.__name__} has no option {sorted(unknown)[0]!r}; it was written by another version."
        )
    return kind(**{key: from_dict(hints[key], item) for key, item in value.items()})


@functools.cache
def _hints(kind: type) -> dict[str, Any]:
    return typing.get_type_hints(kind)

"""How a family declares its options: annotated keyword parameters of its factory. Torch-free.

``width: Count`` says what a value must be; `problem` compares one with it, and the registry names the preset. What
only two options together can tell (heads that divide the width) is a ValueError of the factory.
"""

from __future__ import annotations

import math
import types
import typing
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal


@dataclass(frozen=True)
class Must:
    """What a value must be, in words, and the test of one that has the annotated type."""

    words: str
    holds: Callable[[Any], bool]


Count = Annotated[int, Must("a whole number of at least 1", lambda n: n >= 1)]
Number = Annotated[int, Must("a whole number of at least 0", lambda n: n >= 0)]
Odd = Annotated[int, Must("an odd whole number of at least 1", lambda n: n >= 1 and n % 2 == 1)]
Positive = Annotated[float, Must("a number above 0", lambda x: x > 0)]
Share = Annotated[float, Must("a number in (0, 1]", lambda x: 0 < x <= 1)]
Dropout = Annotated[float, Must("a number in [0, 1)", lambda x: 0 <= x < 1)]
Windows = str | Sequence[int | None] | None  # see bench.models.windows


def problem(value: Any, hint: Any) -> str | None:
    """Return what ``value`` (from YAML) must be instead, or None if it has the annotated type and range.

    A count above a million is refused: it overflows inside torch, or is built layer by layer for hours.
    """
    if typing.get_origin(hint) is Annotated and isinstance(value, int) and value > 10**6:
        return "a million at most"
    return None if _fits(value, hint) else _words(hint)


def _fits(value: Any, hint: Any) -> bool:
    """Whether a value has the annotated type; annotations that YAML cannot express always fit."""
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if origin is Annotated:
        return _fits(value, inner[0]) and all(m.holds(value) for m in inner[1:] if isinstance(m, Must))
    if origin in (typing.Union, types.UnionType):
        return any(_fits(value, h) for h in inner)
    if origin is Literal:
        return value in inner
    if origin in (list, tuple, Sequence):
        return isinstance(value, (list, tuple)) and all(_fits(v, inner[0]) for v in value)
    if hint is float:
        return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
    if hint is int:
        return isinstance(value, int) and not isinstance(value, bool)
    return isinstance(value, hint) if hint in (bool, str, type(None)) else True


def _words(hint: Any) -> str:
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if origin is Annotated:
        return next((m.words for m in inner[1:] if isinstance(m, Must)), _words(inner[0]))
    if origin in (typing.Union, types.UnionType):
        return " or ".join(_words(h) for h in inner)
    if origin is Literal:
        return "one of " + ", ".join(map(repr, inner))
    if origin in (list, tuple, Sequence):
        return f"a list, each {_words(inner[0])}"
    plain = {
        float: "a number",
        int: "a whole number",
        bool: "true or false",
        str: "a text",
        type(None): "null",
    }
    return plain.get(hint, str(hint))

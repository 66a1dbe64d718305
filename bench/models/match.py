"""Which width or depth gives a network the parameters, or the multiply-adds, of another one.

The options of a family say nothing of what values go together (heads divide widths, groups divide channels,
halves need even depths). So sizes are tried: a build that is refused is no size, and the smallest step between
two sizes that are accepted is found first.
"""

from __future__ import annotations

import dataclasses
import functools
import inspect
import math
from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
from torch import nn

from bench.models.costs import macs, parameters
from bench.models.registry import build, factory_of
from bench.models.spec import ModelSpec
from bench.support.errors import BenchError

DIMENSIONS = ("width", "depth")
MEASURES = ("macs", "parameters")
LARGEST_STEP = 128
LARGEST_FACTOR = 4096  # between a network's own size and the proposed one


class Size(NamedTuple):
    """Trainable parameters, and multiply-adds of one image with the attention products."""

    parameters: int
    macs: int


class Proposal(NamedTuple):
    """``option`` set to ``value`` brings ``by`` nearest to the target; ``size`` is what it then has."""

    option: str
    value: int
    by: str
    size: Size


def size_of(spec: ModelSpec, image_size: int, channels: int) -> Size:
    """Return the size of a network for one image; nothing is allocated. Raises BenchError as `build` does."""
    model = _built(spec, image_size, channels)
    return Size(parameters(model), macs(model, image_size, channels).total)


def _built(spec: ModelSpec, image_size: int, channels: int) -> nn.Module:
    with torch.device("meta"):
        model = build(spec, image_size, channels)
    if not getattr(model, "trains", True):
        raise BenchError(f"Model {spec.name!r} is a control without training; it has no size to match.")
    return model


def proposals(
    spec: ModelSpec, target: Size, image_size: int, channels: int, options: list[str] | None = None
) -> list[Proposal]:
    """Return, for each of ``options`` and each measure, the value that comes nearest to ``target`` (ratio).

    ``options`` are names of whole-number options of the family; default are those of width and depth that it
    has. Raises BenchError for a name that is not one, and where there is none.
    """
    known = whole_numbers(spec)
    wanted = options or [name for name in DIMENSIONS if name in known]
    for name in wanted:
        if name not in known:
            raise BenchError(
                f"Model {spec.name!r} has no option {name!r} that is a whole number; it has {_listed(known)}."
            )
    if not wanted:
        raise BenchError(
            f"Model {spec.name!r} has no width or depth; choose one with --option: {_listed(known)}."
        )
    return [p for name in wanted for p in _along(spec, name, known[name], target, image_size, channels)]


def whole_numbers(spec: ModelSpec) -> dict[str, int]:
    """Return the options of a preset whose value is a whole number, with that value (given or default)."""
    named = list(inspect.signature(factory_of(spec)).parameters.values())[2:]
    values = {p.name: spec.options.get(p.name, p.default) for p in named}
    return {name: value for name, value in values.items() if type(value) is int}


def _along(
    spec: ModelSpec, option: str, start: int, target: Size, image_size: int, channels: int
) -> Iterator[Proposal]:
    """Yield the nearest value of one option by each measure; counting is the slow part, so it is done once."""

    def changed(value: int) -> ModelSpec:
        return dataclasses.replace(spec, options={**spec.options, option: value})

    @functools.cache
    def count(value: int, by: str) -> int | None:
        try:
            model = _built(changed(value), image_size, channels)
        except BenchError:
            return None
        return parameters(model) if by == "parameters" else macs(model, image_size, channels).total

    def excess(by: str) -> Callable[[int], float | None]:
        def logarithm(value: int) -> float | None:
            found = count(value, by)
            return None if found is None else math.log(found / getattr(target, by))

        return logarithm

    _built(spec, image_size, channels)  # what is refused as it stands is said, not searched
    steps = range(1, LARGEST_STEP + 1)
    step = next((s for s in steps if all(count(start + k * s, "parameters") for k in (1, 2))), None)
    for by in MEASURES if step else ():
        value = _nearest(excess(by), start, step)
        yield Proposal(option, value, by, size_of(changed(value), image_size, channels))


def _nearest(excess: Callable[[int], float | None], start: int, step: int) -> int:
    """Return the value start + k step whose ``excess``, which grows with it, is nearest to 0."""
    low = high = start
    while excess(high) < 0:
        larger = high + max(step, high // step * step)
        if excess(larger) is None or larger > LARGEST_FACTOR * start:
            break
        low, high = high, larger
    while excess(low) > 0 and low > step:
        smaller = low - max(step, low // 2 // step * step)
        if excess(smaller) is None:
            break
        low, high = smaller, low
    while high - low > step:
        middle = low + (high - low) // step // 2 * step
        if excess(middle) is None:
            break
        low, high = (middle, high) if excess(middle) < 0 else (low, middle)
    return min((low, high), key=lambda value: abs(excess(value)))


def _listed(known: dict[str, int]) -> str:
    return ", ".join(known) or "none"

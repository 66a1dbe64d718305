"""Which width or depth gives a network the parameters, or the multiply-adds, of another one.

The options of a family say nothing of what values go together (heads divide widths, groups divide channels,
halves need even depths). So sizes are tried: a network that is refused or does not run does not count, and the smallest
step between two sizes that are accepted is found first.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Callable, Iterator
from typing import NamedTuple

from bench.models.costs import Size, size_of
from bench.models.registry import factory_of, parameters_of
from bench.models.spec import ModelSpec
from bench.support.errors import BenchError

DIMENSIONS = ("width", "depth")
MEASURES = ("macs", "parameters")
LARGEST_STEP = 128
LARGEST_FACTOR = 4096  # between a network's own size and the proposed one


class Proposal(NamedTuple):
    """``option`` set to ``value`` brings ``by`` nearest to the target; ``size`` is what it then has."""

    option: str
    value: int
    by: str
    size: Size


def proposals(
    spec: ModelSpec, target: Size, image_size: int, channels: int, options: list[str] | None = None
) -> list[Proposal]:
    """Return, for each of ``options`` and each measure, the value that comes nearest to ``target`` (ratio).

    ``options`` are names of whole-number options of the family; default are those of width and depth that it
    has. Raises BenchError for a name that is not one, if there is none, and for controls.
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
    if not target.parameters or not size_of(spec, image_size, channels).parameters:
        raise BenchError(
            f"Model {spec.name!r} or its target is a control without training; it has no size to match."
        )
    return [p for name in wanted for p in _along(spec, name, known[name], target, image_size, channels)]


def whole_numbers(spec: ModelSpec) -> dict[str, int]:
    """Return the options of a preset whose value is a whole number, with that value (given or default)."""
    known = parameters_of(factory_of(spec))
    values = {name: spec.options.get(name, p.default) for name, p in known.items()}
    return {name: value for name, value in values.items() if type(value) is int}


def _along(
    spec: ModelSpec, option: str, start: int, target: Size, image_size: int, channels: int
) -> Iterator[Proposal]:
    """Yield the nearest value of one option by each measure."""

    @functools.cache
    def size(value: int) -> Size | None:
        changed = dataclasses.replace(spec, options={**spec.options, option: value})
        try:
            return size_of(changed, image_size, channels)
        except BenchError:
            return None

    size_of(spec, image_size, channels)  # a preset that fails as it is raises its error
    steps = range(1, LARGEST_STEP + 1)
    step = next((s for s in steps if all(size(start + k * s) for k in (1, 2))), None)
    for by in MEASURES if step else ():

        def excess(value: int, by: str = by) -> float:
            found = size(value)
            return math.nan if found is None else math.log(getattr(found, by) / getattr(target, by))

        value = _nearest(excess, start, step or 1)
        yield Proposal(option, value, by, size(value) or target)


def _nearest(excess: Callable[[int], float], start: int, step: int) -> int:
    """Return the value start + k step whose ``excess``, which grows with it, is nearest to 0; NaN does not count."""
    low = high = start
    while excess(high) < 0:
        larger = high + max(step, high // step * step)
        if math.isnan(excess(larger)) or larger > LARGEST_FACTOR * start:
            break
        low, high = high, larger
    while excess(low) > 0 and low > step:
        smaller = low - max(step, low // 2 // step * step)
        if math.isnan(excess(smaller)):
            break
        low, high = smaller, low
    while high - low > step:
        middle = low + (high - low) // step // 2 * step
        if math.isnan(excess(middle)):
            break
        low, high = (middle, high) if excess(middle) < 0 else (low, middle)
    return min((low, high), key=lambda value: abs(excess(value)))


def _listed(known: dict[str, int]) -> str:
    return ", ".join(known) or "none"

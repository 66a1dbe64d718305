"""Reads clocks off curves that are known at some training steps, with intervals; no number where there is only a bound."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

NORMAL = 1.959964  # 97.5 % quantile of the standard normal distribution


class Clock(NamedTuple):
    """A training step with its 95 % interval; where it was not reached, ``step`` and ``high`` are None, ``low`` a bound."""

    step: float | None
    low: float
    high: float | None


def wilson(hits: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the 95 % interval of a share, of ``hits`` (S,) among ``count`` (Wilson 1927)."""
    share, z2 = hits / count, NORMAL**2 / count
    middle = (share + z2 / 2) / (1 + z2)
    half = NORMAL * np.sqrt(share * (1 - share) / count + z2 / (4 * count)) / (1 + z2)
    return middle - half, middle + half


def crossing(steps: np.ndarray, hits: np.ndarray, level: float) -> Clock:
    """Return when the share of ``hits`` (S, n), true or false at ``steps`` (S,), first reaches ``level``.

    Linear in log(step) between checkpoints.  The interval reaches from the last checkpoint at which the share is shown to
    lie below the level to the first at which it is shown to lie above it.
    """
    share, (lower, upper) = hits.mean(1), wilson(hits.sum(1), hits.shape[1])
    may = int((upper >= level).argmax()) if (upper >= level).any() else len(steps)
    low = float(steps[may - 1]) if may else 0.0
    if not (lower >= level).any():
        return Clock(None, low, None)
    first = int((share >= level).argmax())
    value = float(steps[first])
    if first:
        part = (level - share[first - 1]) / (share[first] - share[first - 1])
        value = math.exp(np.interp(part, [0, 1], np.log(steps[first - 1 : first + 1])))
    return Clock(value, low, float(steps[(lower >= level).argmax()]))


def lowest(steps: np.ndarray, curve: np.ndarray, resampled: np.ndarray) -> Clock:
    """Return when ``curve`` (S,) is lowest; ``resampled`` (B, S) is the same of bootstrap samples.

    The interval holds the lowest checkpoints of 95 % of these, and reaches to the checkpoints beside them.  Where it reaches
    the last one, the curve may still fall: a bound.
    """
    first, last = np.quantile(resampled.argmin(1), [0.025, 0.975], method="nearest").astype(int)
    low = float(steps[first - 1]) if first else 0.0
    if max(last, curve.argmin()) == len(steps) - 1:
        return Clock(None, low, None)
    return Clock(float(steps[curve.argmin()]), low, float(steps[last + 1]))

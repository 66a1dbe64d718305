"""Paired comparisons over shuffles: intervals, correction for many comparisons, a verdict in words. Torch-free."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

LEVEL = 0.95
TOO_FEW = "too few shuffles"
NO_DIFFERENCE = "no difference shown"


@dataclass(frozen=True)
class Interval:
    """Mean of paired differences with its t interval; ``low``, ``high`` and ``p`` are NaN for fewer than two."""

    mean: float
    low: float
    high: float
    p: float
    count: int


def by_image(values: np.ndarray, size: int) -> np.ndarray:
    """Return one value for each image, (min(N, K),), of K ``values`` on ``size`` = N images that repeat with fresh noise."""
    return np.array([values[first::size].mean() for first in range(min(size, len(values)))])


def paired_interval(differences: Sequence[float], level: float = LEVEL) -> Interval:
    """Return the mean of paired differences, its two-sided Student t interval and the p value of "no difference".

    One difference per shuffle: the images of a shuffle are nested in it, so their spread is part of the spread over
    shuffles.  Differences that are all equal have an interval of width 0 and p = 0, or 1 where all are 0.
    Raises ValueError for no difference at all, or one that is not finite.
    """
    values = np.asarray(differences, dtype=float)
    if not len(values) or not np.isfinite(values).all():
        raise ValueError(f"paired differences must be finite numbers, not {differences!r}")
    mean, count = float(values.mean()), len(values)
    if count < 2:
        return Interval(mean, math.nan, math.nan, math.nan, count)
    error = float(values.std(ddof=1)) / math.sqrt(count)
    if error == 0:
        return Interval(mean, mean, mean, float(mean == 0), count)
    half = float(stats.t.ppf((1 + level) / 2, count - 1)) * error
    p = float(2 * stats.t.sf(abs(mean) / error, count - 1))
    return Interval(mean, mean - half, mean + half, p, count)


def nested_interval(parts: Sequence[Sequence[np.ndarray]], level: float = LEVEL) -> Interval:
    """Return the mean of sums of independent means, with the t interval from the spread inside each sample.

    ``parts`` holds one entry for each shuffle: the samples (one difference per image) whose means add up to that
    shuffle's difference.  The interval says how far other images could move the mean with these very networks; it
    says nothing of other seeds.  The degrees of freedom are those of the smallest sample.  ``low``, ``high`` are NaN
    where a sample has one value.
    """
    mean = float(np.mean([sum(float(s.mean()) for s in samples) for samples in parts]))
    everything = [np.asarray(s, dtype=float) for samples in parts for s in samples]
    smallest = min(len(s) for s in everything)
    if smallest < 2:
        return Interval(mean, math.nan, math.nan, math.nan, smallest)
    error = math.sqrt(sum(float(s.var(ddof=1)) / len(s) for s in everything)) / len(parts)
    half = float(stats.t.ppf((1 + level) / 2, smallest - 1)) * error
    return Interval(mean, mean - half, mean + half, math.nan, smallest)


def holm(p_values: Sequence[float]) -> list[float]:
    """Return p values corrected for their number (Holm 1979), in the order given; NaN stays NaN and does not count."""
    values = np.asarray(p_values, dtype=float)
    known = np.flatnonzero(~np.isnan(values))
    order = known[np.argsort(values[known], kind="stable")]
    corrected = values.copy()
    largest = 0.0
    for rank, place in enumerate(order):
        largest = max(largest, min(1.0, (len(order) - rank) * values[place]))
        corrected[place] = largest
    return corrected.tolist()


def verdict(interval: Interval, corrected_p: float, better: str, level: float = LEVEL) -> str:
    """Return better, worse, no difference shown, or too few shuffles; ``better`` is 'higher' or 'lower'."""
    if interval.count < 2:
        return TOO_FEW
    if not corrected_p < 1 - level:
        return NO_DIFFERENCE
    return "better" if (interval.mean > 0) == (better == "higher") else "worse"

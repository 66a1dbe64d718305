"""Paired comparisons: moderated t intervals, equality within a margin, Holm's correction, verdicts in words. Torch-free.

The field names of an :class:`Interval` may be numbers or arrays of one shape; every function works on both, and corrects
along the last axis.  ``tests/results/simulation.py`` simulates how often verdicts are wrong, and how often they are reached.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy import special  # scipy.stats costs half a second more at start-up

LEVEL = 0.95
# Largest weight of a prior, in degrees of freedom: with more, over 5 % of the simulated null tables contain a decision
WEIGHT = 2.0
FEWEST = 8  # variances behind a prior of single cells
FEWEST_POOLED = 3  # variances behind a prior of pooled differences
BETTER, WORSE, EQUAL = "better", "worse", "equal"
NO_DIFFERENCE, TOO_FEW, NOT_JUDGED = "no difference shown", "too few shuffles", "not judged"
HOLDS, FAILS = "holds", "fails"


@dataclass(frozen=True)
class Prior:
    """What variances are like: the inverse chi-square distribution that they come from (Smyth 2004, section 3)."""

    freedom: float
    variance: float


@dataclass(frozen=True)
class Interval:
    """Mean of paired differences over ``count`` replicates, its standard error and degrees of freedom.

    ``low``, ``high`` (95 %, two-sided) and ``p`` (of "no difference") are NaN for fewer than two replicates.  A standard
    error of 0 gives an interval of width 0, and p = 0, or 1 if the mean is 0.
    """

    mean: ArrayLike
    error: ArrayLike
    freedom: ArrayLike
    count: ArrayLike

    def half(self, level: ArrayLike = LEVEL) -> ArrayLike:
        """Return half the width of the two-sided interval at ``level``."""
        return special.stdtrit(self.freedom, (1 + np.asarray(level)) / 2) * self.error

    @property
    def low(self) -> ArrayLike:
        """Lower end of the interval."""
        return self.mean - self.half()

    @property
    def high(self) -> ArrayLike:
        """Upper end of the interval."""
        return self.mean + self.half()

    @property
    def p(self) -> ArrayLike:
        """Two-sided p value of a mean of 0."""
        return np.minimum(1.0, 2 * np.minimum(self.above(0.0), self.below(0.0)))

    def above(self, bound: ArrayLike) -> ArrayLike:
        """Return the one-sided p value of "the mean is at or below ``bound``": small where it is shown to lie above."""
        return special.stdtr(self.freedom, -self._statistic(bound))

    def below(self, bound: ArrayLike) -> ArrayLike:
        """Return the one-sided p value of "the mean is at or above ``bound``"."""
        return special.stdtr(self.freedom, self._statistic(bound))

    def within(self, margin: ArrayLike) -> ArrayLike:
        """Return the p value of "the mean is at least ``margin`` away from 0": two one-sided tests (Schuirmann 1987)."""
        return np.maximum(self.above(-np.asarray(margin)), self.below(margin))

    def _statistic(self, bound: ArrayLike) -> np.ndarray:
        distance = np.asarray(self.mean, dtype=float) - bound
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.where(distance == 0, 0.0, distance / self.error)


def fit_prior(variances: ArrayLike, freedom: ArrayLike, fewest: int = FEWEST) -> Prior | None:
    """Estimate the prior of variances (..., G) with these degrees of freedom (Smyth 2004, equations of section 6.2).

    None if fewer than ``fewest`` are known.  Every variance must be positive.
    """
    variances, half = np.asarray(variances, dtype=float), np.asarray(freedom, dtype=float) / 2
    number = variances.shape[-1]
    if number < fewest:
        return None
    logs = np.log(variances) - special.digamma(half) + np.log(half)
    spread = logs.var(-1, ddof=1) - np.broadcast_to(special.polygamma(1, half), variances.shape).mean(-1)
    prior = np.where(spread > 0, _inverse_trigamma(np.where(spread > 0, spread, 1.0)), np.inf)
    with np.errstate(invalid="ignore"):
        correction = np.where(np.isinf(prior), 0.0, special.digamma(prior) - np.log(prior))
    return Prior(2 * prior, np.exp(logs.mean(-1) + correction))


def _inverse_trigamma(value: np.ndarray) -> np.ndarray:
    """Solve trigamma(x) = value by Newton's method on 1 / trigamma (Smyth 2004, appendix)."""
    x = 0.5 + 1 / value
    for _ in range(30):
        trigamma = special.polygamma(1, x)
        x = x + trigamma * (1 - trigamma / value) / special.polygamma(2, x)
    return x


def paired_interval(differences: ArrayLike, prior: Prior | None = None) -> Interval:
    """Return the interval of paired differences (..., replicates), one for each replicate; the last axis is averaged.

    The images of a shuffle are nested in it, so their spread is part of the spread over shuffles.  ``prior`` moderates the
    variance (Smyth 2004, section 3), with a weight of at most ``WEIGHT``.  Raises ValueError for no difference at all, or
    one that is not finite.
    """
    values = np.asarray(differences, dtype=float)
    count = values.shape[-1]
    if not count or not np.isfinite(values).all():
        raise ValueError(f"paired differences must be finite numbers, not {differences!r}")
    if count < 2:
        nothing = np.full(values.shape[:-1], math.nan)[()]
        return Interval(values.mean(-1), nothing, nothing, count)
    variance, freedom = values.var(-1, ddof=1), count - 1.0
    if prior is not None:
        weight = np.minimum(prior.freedom, WEIGHT)
        variance = (weight * prior.variance + freedom * variance) / (weight + freedom)
        freedom = freedom + weight
    return Interval(values.mean(-1), np.sqrt(variance / count), freedom, count)


def stack(intervals: Sequence[Interval]) -> Interval:
    """Return one interval of arrays, in the order given."""
    fields = ("mean", "error", "freedom", "count")
    return Interval(*(np.array([getattr(i, name) for i in intervals], dtype=float) for name in fields))


def balanced(table: pd.DataFrame, cell: Sequence[str]) -> pd.DataFrame:
    """Return, of each dataset, the rows of the most shuffles that have cells in common, and of these cells.

    ``cell`` names the columns that tell cells apart.  Where a suite is stored in part, some shuffles lack cells that others
    have; averaged over unequal cells, a difference between two cells would pass for one between two shuffles.
    """
    table = table.assign(cell=[str(key) for key in zip(*(table[column] for column in cell))])
    kept = [table[:0]]
    for _, here in table.groupby("dataset", sort=False):
        held = here.groupby("cell")["shuffle"].agg(frozenset)
        sets = sorted(set(held), key=sorted)  # of equals the first
        shared = max(sets, key=lambda own: (len(own), sum(own <= other for other in held)))
        cells = held.index[[shared <= own for own in held]]
        kept.append(here[here["shuffle"].isin(shared) & here["cell"].isin(cells)])
    return pd.concat(kept).drop(columns="cell")


def replicates(table: pd.DataFrame) -> np.ndarray:
    """Return one value for each (dataset, shuffle) of a :func:`balanced` table: its ``value``, averaged over cells.

    Subsets are nested in N and baselines are shared, so only datasets and shuffles are replicates.
    """
    return table.groupby(["dataset", "shuffle"], sort=True)["value"].mean().to_numpy()


def difference(wide: pd.DataFrame, one: str, two: str) -> Interval:
    """Return the interval of column ``one`` minus ``two`` over replicates; the index is dataset, train_size, shuffle."""
    found = (wide[one] - wide[two]).dropna().rename("value").reset_index()
    return paired_interval(replicates(balanced(found, ["train_size"])))


def nested_interval(parts: Sequence[np.ndarray]) -> Interval:
    """Return the mean over shuffles of means over images, with the t interval from the spread inside each shuffle.

    ``parts`` holds one difference per image for each shuffle.  The interval says how far other images could move the mean
    with these very networks; it says nothing about other seeds.
    """
    mean, smallest = float(np.mean([part.mean() for part in parts])), min(map(len, parts))
    if smallest < 2:
        return Interval(mean, math.nan, math.nan, smallest)
    error = math.sqrt(sum(float(part.var(ddof=1)) / len(part) for part in parts)) / len(parts)
    return Interval(mean, error, smallest - 1.0, smallest)


def holm(p_values: ArrayLike) -> np.ndarray:
    """Return p values corrected for their number (Holm 1979) along the last axis; NaN stays NaN and does not count."""
    values = np.asarray(p_values, dtype=float)
    order = np.argsort(values, axis=-1, kind="stable")  # NaN last
    known = (~np.isnan(values)).sum(-1, keepdims=True)
    factors = np.maximum(known - np.arange(values.shape[-1]), 1)
    ordered = np.minimum(1.0, np.take_along_axis(values, order, -1) * factors)
    corrected = np.empty_like(values)
    np.put_along_axis(corrected, order, np.maximum.accumulate(ordered, axis=-1), -1)
    return corrected


def verdicts(found: Interval, better: str, margin: float | None = None) -> np.ndarray:
    """Return a word for each interval (..., cells) of one measure and one question, corrected for their number.

    ``better`` is higher, lower, or '' if neither way is, which reads as lower.  ``equal``: shown to differ by less
    than ``margin``.  Where a difference is shown and is also within the margin, it is equal.
    """
    count = np.asarray(found.count)
    different = holm(found.p) < 1 - LEVEL
    equal = np.zeros_like(different) if margin is None else holm(found.within(margin)) < 1 - LEVEL
    good = (np.asarray(found.mean) > 0) == (better == "higher")
    return np.select(
        [count < 2, equal, different & good, different], [TOO_FEW, EQUAL, BETTER, WORSE], NO_DIFFERENCE
    )


def detectable(found: Interval) -> np.ndarray:
    """Return the smallest difference that each interval (..., cells) could have shown, before any other cell is decided."""
    cells = np.maximum((~np.isnan(np.asarray(found.p, dtype=float))).sum(-1, keepdims=True), 1)
    return found.half(1 - (1 - LEVEL) / cells)


def judge_claims(found: Interval, relations: Sequence[str], slack: ArrayLike = 0.0) -> np.ndarray:
    """Return a word for each claim (..., claims) of one paper, corrected for their number: one pooled test each.

    ``found`` holds the intervals of left minus right over :func:`replicates`.  A claim holds where the difference is
    shown to lie below ``-slack`` (relation <), above ``slack`` (>) or within it (~), and fails where it is shown not to.
    """
    about = np.array([relation == "~" for relation in relations])
    sign = np.array([-1.0 if relation == ">" else 1.0 for relation in relations])
    found = Interval(np.asarray(found.mean) * sign, found.error, found.freedom, found.count)
    slack = np.asarray(slack, dtype=float)
    outside = np.minimum(found.above(slack), found.below(-slack))
    holds = np.where(about, found.within(slack), 2 * found.below(-slack))
    fails = 2 * np.where(about, outside, found.above(-slack))
    decided = holm(np.minimum(holds, fails)) < 1 - LEVEL
    return np.select(
        [np.asarray(found.count) < 2, decided & (holds < fails), decided],
        [TOO_FEW, HOLDS, FAILS],
        NO_DIFFERENCE,
    )

"""What architectures are compared on: every metric declared with a margin. Torch-free."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import numpy as np
import pandas as pd

from bench.metrics.declare import Margin, Row, measurements, metrics
from bench.results.statistics import Prior, fit_prior
from bench.results.tidy import protocol_field

SPLITS = ("", "train-test", "test")  # the first that a metric has is judged
TEST, GAP = "psnr_mean", "psnr_gap_mean"
# A smaller gap is no improvement if the test PSNR may be lower: underfitting lowers the gap too
GAPS = {GAP: TEST, "best_psnr_gap_mean": "best_psnr_mean"}
AT_EQUAL = "gap_at_train_psnr"  # compared between the curves of two networks (bench.results.equal_psnr)
SMALLEST = 1e-6  # replaces 0 in ratios
ARROWS = {"higher": " ↑", "lower": " ↓", "": ""}  # behind the name of a metric, towards the better side


@dataclass(frozen=True)
class Measure:
    """A metric that verdicts are given on; ``space`` tells apart rows of one metric in several feature spaces."""

    metric: str
    split: str
    space: str
    measured: str  # the measurement that gives it
    row: Row

    @property
    def of_pairs(self) -> bool:
        """Whether a value belongs to two networks, so that one of them has none alone."""
        return self.metric == AT_EQUAL

    @property
    def key(self) -> str:
        """Its name in files."""
        return f"{self.metric}:{self.space}" if self.space else self.metric

    @property
    def name(self) -> str:
        """Its name for readers, with the unit."""
        return self._with(self.row.unit)

    @property
    def change(self) -> str:
        """Its name for readers, with the unit of differences."""
        return self._with("%" if self.is_ratio else self.row.unit)

    def _with(self, unit: str) -> str:
        name = self.row.name or self.metric.replace("_", " ")
        return name + (f", {self.space}" if self.space else "") + (f" ({unit})" if unit else "")

    @property
    def margin(self) -> Margin:
        """The difference up to which values count as equal."""
        assert self.row.margin is not None  # only what has one is judged
        return self.row.margin

    @property
    def is_ratio(self) -> bool:
        """Whether differences are logarithms of ratios."""
        return self.margin.scale == "log-ratio"

    @property
    def bound(self) -> float:
        """The margin on the scale of differences."""
        return math.log1p(self.margin.size) if self.is_ratio else self.margin.size

    def scale(self, values: pd.Series) -> pd.Series:
        """Return values on the scale on which differences are taken; a value below the floor counts as the floor."""
        return np.log(values.clip(lower=self.margin.floor or SMALLEST)) if self.is_ratio else values

    def shown(self, difference: float) -> float:
        """Return a difference as readers see it: in the metric's unit, or in percent."""
        return 100 * math.expm1(difference) if self.is_ratio else difference

    def text(self, difference: float, sign: str = "+") -> str:
        """Return a difference as text."""
        unit = " %" if self.is_ratio else f" {self.row.unit}".rstrip()
        return f"{self.shown(difference):{sign}.3g}{unit}".replace("-", "−")

    def rows(self, table: pd.DataFrame) -> pd.DataFrame:
        """Return its rows of a tidy table, plain recipes only: others have no counterpart."""
        same = (table["metric"] == self.metric) & (table["split"] == self.split) & (table["recipe"] == "")
        return table[same & (protocol_field(table, "space").fillna("") == self.space)]

    def values(self, table: pd.DataFrame) -> pd.DataFrame:
        """Return one ``value`` for each (dataset, train_size, model, shuffle), averaged over layers if there are some."""
        keys = ["dataset", "train_size", "model", "shuffle"]
        return self.rows(table).groupby(keys, sort=False, as_index=False)["value"].mean()


def measures(table: pd.DataFrame) -> list[Measure]:
    """Return what can be judged of a table, PSNR first."""
    found = []
    for one in sorted(measurements().values(), key=lambda one: one.name != "psnr"):
        for metric, row in one.rows.items():
            part = table[(table["metric"] == metric) & (table["recipe"] == "")] if row.margin else table[:0]
            split = next((split for split in SPLITS if (part["split"] == split).any()), "")
            part = part[part["split"] == split]
            spaces = protocol_field(part, "space").fillna("").unique()
            if one.name == "along" and len(part):  # their plain means differ from those of `psnr` by dBs
                levels = protocol_field(part, "steps").iloc[0]
                row = row._replace(name=f"{row.name}, {levels} noise levels")
            found += [Measure(metric, split, space, one.name, row) for space in spaces]
    return found


def fit_priors(table: pd.DataFrame) -> dict[str, dict[int, Prior]]:
    """Return measure -> N -> the prior of the variance of a paired difference, of every two trained networks."""
    untrained, found = controls(table), dict[str, dict[int, Prior]]()
    for measure in (one for one in measures(table) if not one.of_pairs):
        values = measure.values(table)
        values = values[~values["model"].isin(untrained)]
        for size, part in values.groupby("train_size"):
            spread = [pair for _, one in part.groupby("dataset") for pair in _variances(measure, one)]
            variances, freedom = [one for one, _ in spread], [one for _, one in spread]
            if prior := fit_prior(variances, freedom) if spread else None:
                found.setdefault(measure.key, {})[int(size)] = prior
    return found


def _variances(measure: Measure, values: pd.DataFrame) -> list[tuple[float, int]]:
    """Return (variance, degrees of freedom) of the differences of every two networks over shuffles, if it is not 0."""
    wide = values.pivot_table(index="shuffle", columns="model", values="value")
    wide = measure.scale(wide.loc[:, wide.mean() >= measure.margin.floor])
    pairs = ((wide[one] - wide[two]).dropna() for one, two in itertools.combinations(wide, 2))
    return [(pair.var(), len(pair) - 1) for pair in pairs if len(pair) > 1 and pair.var() > 0]


def controls(table: pd.DataFrame) -> set[str]:
    """Return the models without trainable parameters."""
    counts = table[table["metric"] == "parameters"].groupby("model")["value"].max()
    return set(counts[counts == 0].index)


def test_holds(low: float) -> bool:
    """Return whether test PSNR that differs by ``low`` dB or more is no worse within its margin."""
    margin = metrics()[TEST].margin
    return margin is not None and low > -margin.size

"""How often verdicts are wrong, and how often they are reached: tables drawn with the seed spread of stored baselines.

``python tests/results/simulation.py [SUITE] [METRIC]`` prints the rates (default: families, psnr_mean).
"""

from __future__ import annotations

import sys
from dataclasses import dataclass

import numpy as np

from bench.results import statistics
from bench.results.statistics import (
    FEWEST_POOLED,
    Interval,
    fit_prior,
    judge_claims,
    paired_interval,
    verdicts,
)
from bench.results.tidy import read_tidy
from bench.support import paths

FEWEST = 3  # networks and shuffles of a cell
DECIDED = ("better", "worse", "holds", "fails")


def seed_spread(suite: str, metric: str, split: str, log: bool = False) -> np.ndarray:
    """Return the standard deviation over shuffles (networks, datasets, N) of a stored metric, in its unit or as a logarithm.

    What a shuffle does to all networks alike is taken out, since it cancels in differences.  Controls are left out, as are
    cells with fewer than three networks or shuffles; of each dataset the largest N are taken, as many as all have.  Where a
    network lacks a cell it has the mean variance of its others.
    """
    table = read_tidy(paths.baseline_table(suite))
    trained = table[(table["metric"] == "parameters") & (table["value"] > 0)]["model"].unique()
    plain = (table["metric"] == metric) & (table["split"] == split) & (table["recipe"] == "")
    rows = table[plain & table["model"].isin(trained)]
    cell = ["dataset", "train_size"]
    rows = rows[rows.groupby([*cell, "model"])["shuffle"].transform("nunique") >= FEWEST]
    rows = rows[rows.groupby(cell)["model"].transform("nunique") >= FEWEST]
    rows = rows.assign(place=rows.groupby("dataset")["train_size"].rank("dense", ascending=False))
    rows = rows[rows["place"] <= rows.groupby("dataset")["place"].max().min()]
    left = np.log(rows["value"].clip(lower=0.02)) if log else rows["value"]
    for key in ("model", "shuffle"):
        left = left - left.groupby([rows["dataset"], rows["place"], rows[key]]).transform("mean")
    networks = rows.groupby(cell)["model"].transform("nunique")
    shuffles = rows.groupby([*cell, "model"])["shuffle"].transform("nunique")
    parts = left**2 / (shuffles - 1) * networks / (networks - 1)
    variances = rows.assign(part=parts).pivot_table(
        index="model", columns=["dataset", "place"], values="part", aggfunc="sum"
    )
    filled = variances.T.fillna(variances.mean(axis=1)).T
    return np.sqrt(filled.to_numpy()).reshape(len(filled), rows["dataset"].nunique(), -1)


@dataclass(frozen=True)
class Rates:
    """Shares of tables with a decision in the pooled answers, in the cells; of pooled answers and of cells decided."""

    pooled_tables: float
    cell_tables: float
    pooled: float
    cells: float

    def __str__(self) -> str:
        return (
            f"tables with a decision: pooled {self.pooled_tables:.1%}, cells {self.cell_tables:.1%}; "
            f"decided: pooled answers {self.pooled:.1%}, cells {self.cells:.1%}"
        )


def comparisons(spread: np.ndarray, effect: float, shuffles: int, tables: int = 2000, seed: int = 0) -> Rates:
    """Compare a candidate with every network: its seed spread is that of one of them, its mean is ``effect`` off."""
    draw = np.random.default_rng(seed)
    networks, datasets, sizes = spread.shape
    stored = draw.normal(size=(tables, networks, datasets, sizes, shuffles)) * spread[..., None]
    own = (
        draw.normal(size=(tables, datasets, sizes, shuffles))
        * spread[draw.integers(networks, size=tables)][..., None]
    )
    difference = own[:, None] + effect - stored
    one, two = np.triu_indices(networks, 1)
    variances = (stored[:, one] - stored[:, two]).var(-1, ddof=1)  # of each two baselines
    found = []
    for size in range(sizes):
        prior = fit_prior(variances[..., size].reshape(tables, -1), shuffles - 1)
        column = prior and statistics.Prior(*(np.asarray(v)[:, None, None] for v in vars(prior).values()))
        found.append(paired_interval(difference[..., size, :], column))
    cells = _flat(found, (tables, -1))
    pooled = paired_interval(difference.mean(3).reshape(tables, networks, -1))
    return _rates(verdicts(pooled, "higher"), verdicts(cells, "higher"))


def claims(
    spread: np.ndarray, effect: float, shuffles: int, number: int, tables: int = 2000, seed: int = 0
) -> Rates:
    """Judge papers of ``number`` claims, each about two networks of one table, the one ``effect`` above the other.

    The cells of N are averaged; the prior is that of the pooled differences of every two networks.
    """
    draw = np.random.default_rng(seed)
    networks, datasets, sizes = spread.shape
    drawn = draw.normal(size=(tables, networks, datasets, sizes, shuffles)) * spread[..., None]
    values = drawn.mean(3).reshape(tables, networks, -1)
    one, two = np.triu_indices(networks, 1)
    every = values[:, one] - values[:, two]
    prior = fit_prior(every.var(-1, ddof=1), every.shape[-1] - 1, FEWEST_POOLED)
    column = prior and statistics.Prior(*(np.asarray(v)[:, None] for v in vars(prior).values()))
    asked = draw.integers(len(one), size=(tables, number))
    difference = np.take_along_axis(every, asked[..., None], 1) + effect
    words = judge_claims(paired_interval(difference, column), [">"] * number)
    return _rates(words, words)


def _flat(parts: list[Interval], shape: tuple) -> Interval:
    values = [
        np.stack(np.broadcast_arrays(*(getattr(p, name) for p in parts)), -1)
        for name in ("mean", "error", "freedom", "count")
    ]
    full = np.broadcast_arrays(*values)
    return Interval(*(value.reshape(shape) for value in full))


def _rates(pooled: np.ndarray, cells: np.ndarray) -> Rates:
    one, two = np.isin(pooled, DECIDED), np.isin(cells, DECIDED)
    return Rates(one.any(-1).mean(), two.any(-1).mean(), one.mean(), two.mean())


if __name__ == "__main__":
    suite, metric = (*sys.argv[1:], *("families", "psnr_mean")[len(sys.argv) - 1 :])[:2]
    spread = seed_spread(suite, metric, "test" if "gap" not in metric else "train-test", "gap" in metric)
    print(
        f"{suite}, {metric}: seed spread {np.median(spread):.3f} (median), {spread.max():.3f} (largest), {spread.shape}"
    )
    for shuffles in (3, 5):
        for effect in (0.0, 0.3, 1.0):
            print(f"{shuffles} shuffles, {effect} dB: {comparisons(spread, effect, shuffles)}")
            print(f"{shuffles} shuffles, {effect} dB, 20 claims: {claims(spread, effect, shuffles, 20)}")
            print(f"  one dataset: {claims(spread[:, :1], effect, shuffles, 20)}")

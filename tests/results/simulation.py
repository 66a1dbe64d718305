"""How often verdicts are wrong, and how often they are reached: tables drawn with the seed spread of stored baselines.

``python tests/results/simulation.py [SUITE] [METRIC]`` prints the rates (default: families, psnr_mean).
"""

from __future__ import annotations

import sys
from collections import Counter
from dataclasses import dataclass

import numpy as np

from bench.models.families import CONTROLS
from bench.results import statistics
from bench.results.statistics import Interval, fit_prior, judge_claims, paired_interval, verdicts
from bench.results.tidy import read_tidy
from bench.suite import plan
from bench.support import paths
from bench.support.files import read_json

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


def judged_suites() -> dict[str, bool]:
    """Return the stored suites in which three networks that predict v have three shuffles of a cell, and whether each is
    stored as a whole."""
    found = {}
    for file in sorted(paths.RESULTS.glob("baselines/*/plan.json")):
        shuffles: dict[tuple, set[int]] = {}
        runs = read_json(file)["runs"]
        for run in runs:
            network = not run["recipe"] and run["model"]["family"] not in CONTROLS
            if network and run["training"].get("prediction") == "v":
                cell = run["dataset"], run["train_size"], run["model"]["name"]
                shuffles.setdefault(cell, set()).add(run["shuffle"])
        models = Counter(cell[:2] for cell, known in shuffles.items() if len(known) >= FEWEST)
        if any(count >= FEWEST for count in models.values()):
            found[file.parent.name] = {run["name"] for run in runs} >= {*plan.load(file.parent.name).runs}
    return found


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
    spread: np.ndarray,
    effect: float,
    shuffles: int,
    number: int,
    pairs: int = 1,
    tables: int = 2000,
    seed: int = 0,
) -> Rates:
    """Judge papers of ``number`` claims, each about ``pairs`` pairs of networks; the cells of N are averaged."""
    draw = np.random.default_rng(seed)
    networks, datasets, sizes = spread.shape
    sides = []
    for _ in range(2):
        who = draw.integers(networks, size=(tables, number, pairs))
        sides.append(draw.normal(size=(*who.shape, datasets, sizes, shuffles)) * spread[who][..., None])
    difference = (sides[0] - sides[1]).mean((2, 4)) + effect  # tables, number, datasets, shuffles
    words = judge_claims(paired_interval(difference.reshape(tables, number, -1)), [">"] * number)
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

"""Families at equal parameters and at equal multiply-adds.

For every two families, the models nearest in a cost are compared if their costs agree within a quarter. One row is
one question: is this family better than the reference at equal cost? Its replicates are datasets and shuffles,
averaged over N. All other pairs, cell by cell, are in the CSV. A gap may shrink because the network underfits: read
the test PSNR first.
"""

from __future__ import annotations

import itertools

import numpy as np
import pandas as pd

from bench.report.context import Context
from bench.report.items import Item
from bench.report.paired import change, head, interval_in_words, meaning
from bench.report.table import Table
from bench.results.measures import GAP, TEST
from bench.results.statistics import Interval, difference, stack, verdicts
from bench.results.tidy import METRICS, at

ITEM = Item("Table A4", measures=("psnr", "cost"))
SLACK = 1.25  # costs count as equal within this factor
COSTS = {"parameters": "parameters", "macs": "multiply-adds"}


def build(context: Context) -> Table:
    """Build a row for each family and cost that it shares with the reference, the first family of the plan.

    Raises BenchError if no two families are near enough in a cost.
    """
    tests, gaps = context.rows("psnr_mean", split="test"), context.rows("psnr_gap_mean")
    found = {dataset: _pairs(context, rows, dataset) for dataset, rows in context.groups(tests, "dataset")}
    pairs = {pair: ratios for own in found.values() for pair, ratios in own.items()}
    if not pairs:
        needed = f"two families whose costs agree within {SLACK}"
        raise context.needs(needed, instead="add models of another family under `runs`")
    reference = context.plan["models"][next(iter(pairs))[0]]["family"]
    shown = {pair: r for pair, r in pairs.items() if context.plan["models"][pair[0]]["family"] == reference}
    pooled = {metric: [_pooled(t, pair) for pair in shown] for metric, t in ((TEST, tests), (GAP, gaps))}
    judged = [str(word) for word in verdicts(stack(pooled[TEST]), "higher", METRICS[TEST].margin.size)]  # type: ignore[union-attr]
    cells = [_cells(context, *row) for row in zip(shown.items(), judged, *pooled.values(), strict=True)]
    decided = ", ".join(f"{judged.count(word)} {word}" for word in dict.fromkeys(judged))
    caption = (
        f"Families at equal cost with {context.label(next(iter(shown))[0])}: pooled differences over datasets and "
        f"shuffles, averaged over N. Of {len(shown)} comparisons in test PSNR: {decided}. Ratio: cost over that of "
        f"the reference, parameters / multiply-adds. {meaning(judged, TEST)} The CSV has all pairs of families."
    )
    return Table(pd.DataFrame(cells), _numbers(context, tests, gaps, found), caption)


def _pairs(context: Context, tests: pd.DataFrame, dataset: str) -> dict[tuple[str, str], dict[str, float]]:
    """Return each two models of two families that are nearest in a cost and agree in it -> both ratios."""
    values = {}
    for cost in COSTS:
        costs = context.rows(cost, dataset=dataset).groupby("model")["value"].mean()
        values[cost] = costs[costs > 0]
    families: dict[str, list[str]] = {}
    for model in context.ordered(tests, "model"):
        if all(model in value for value in values.values()):
            families.setdefault(context.plan["models"][model]["family"], []).append(model)
    found = {}
    for (one, other), value in itertools.product(
        itertools.combinations(families.values(), 2), values.values()
    ):
        pair = min(itertools.product(one, other), key=lambda pair: _apart(value[pair[1]] / value[pair[0]]))
        if _apart(value[pair[1]] / value[pair[0]]) <= SLACK:
            found[pair] = {cost: float(v[pair[1]] / v[pair[0]]) for cost, v in values.items()}
    return found


def _apart(ratio: float) -> float:
    return max(ratio, 1 / ratio)


def _equal_in(ratios: dict[str, float]) -> str:
    """Return the cost in which two models agree, "both", or nothing."""
    equal = [cost for cost, ratio in ratios.items() if _apart(ratio) <= SLACK]
    return "both" if len(equal) == len(COSTS) else "".join(equal)


def _pooled(table: pd.DataFrame, pair: tuple[str, str]) -> Interval:
    """Return the interval of second minus first over (dataset, shuffle), averaged over N inside each."""
    keys = ["dataset", "train_size", "shuffle"]
    wide = table[table["model"].isin(pair)].pivot_table(index=keys, columns="model", values="value")
    return difference(wide, pair[1], pair[0])


def _cells(context: Context, row: tuple, word: str, test: Interval, gap: Interval) -> dict[str, str]:
    (first, second), ratios = row
    equal = _equal_in(ratios)
    return {
        "Model": context.label(second), "Against": context.label(first), "Equal in": COSTS.get(equal, equal),
        "Ratio": " / ".join(f"{ratio:.2f}" for ratio in ratios.values()), f"Δ {head(TEST)}": interval_in_words(test, 2),
        "Verdict": word, f"Δ {head(GAP)}": interval_in_words(gap, 2),
    }  # fmt: skip


def _numbers(context: Context, tests: pd.DataFrame, gaps: pd.DataFrame, found: dict) -> pd.DataFrame:
    """Return one row for each pair of families, dataset and N."""
    records = []
    for dataset, pairs in found.items():
        for (pair, ratios), size in itertools.product(pairs.items(), context.ordered(tests, "train_size")):
            record = {"dataset": dataset, "equal_in": _equal_in(ratios), "first": pair[0], "second": pair[1]}
            record |= {f"{cost}_ratio": ratio for cost, ratio in ratios.items()} | {"train_size": size}
            record |= _cell(tests, TEST, dataset, size, pair) | _cell(gaps, GAP, dataset, size, pair)
            if not np.isnan(record["test_psnr"]):
                records.append(record)
    return pd.DataFrame(records)


def _cell(
    table: pd.DataFrame, metric: str, dataset: str, size: int, pair: tuple[str, str]
) -> dict[str, float]:
    own = change(at(table, dataset=dataset, train_size=size), pair).interval
    key = "test_psnr" if metric == TEST else "psnr_gap"
    return {key: own.mean, f"{key}_low": own.low, f"{key}_high": own.high}

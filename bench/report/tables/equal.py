"""Table A4: models of different families at equal parameters, and at equal multiply-adds."""

from __future__ import annotations

import itertools

import pandas as pd

from bench.report.context import Context
from bench.report.paired import difference, judged, meaning
from bench.report.tables.table import Table

SLACK = 1.25  # costs count as equal within this factor
COSTS = {"parameters": "parameters", "macs": "multiply-adds"}


def build(context: Context) -> Table:
    """Build a row for each two families, cost, dataset and N: second minus first in test PSNR and gap.

    Of each two families the pair of models nearest in cost is taken. Raises BenchError where no two are near enough.
    """
    tests, gaps = context.rows("psnr_mean", split="test"), context.rows("psnr_gap_mean")
    lines = []
    for dataset in context.ordered(tests, "dataset"):
        here = tests[tests["dataset"] == dataset]
        for cost in COSTS:
            for pair, ratio in _pairs(context, context.rows(cost, dataset=dataset), set(here["model"])):
                lines += [(dataset, cost, pair, ratio, n) for n in context.ordered(here, "train_size")]
    if not lines:
        raise context.needs(
            f"two families whose costs agree within {SLACK}",
            instead="add models of another family under `runs`",
        )
    changes = [judged(_intervals(t, lines), better) for t, better in ((tests, "higher"), (gaps, "lower"))]
    cells, numbers = [], []
    for (dataset, cost, pair, ratio, size), test, gap in zip(lines, *changes, strict=True):
        labels = [context.label(model) for model in pair]
        cells.append(
            [
                context.title(dataset),
                f"{labels[0]} → {labels[1]}",
                COSTS[cost],
                f"{ratio:.2f}",
                f"{size:,}",
                test.text(),
                test.word,
                gap.text(),
            ]
        )
        numbers.append(
            [
                dataset,
                cost,
                *pair,
                ratio,
                size,
                test.interval.mean,
                test.interval.low,
                test.interval.high,
                gap.interval.mean,
            ]
        )
    heads = ["Dataset", "Models", "Equal in", "Ratio", "N", "Test PSNR (dB)", "Verdict", "PSNR gap (dB)"]
    keys = ["dataset", "equal_in", "first", "second", "ratio", "train_size"]
    plain = pd.DataFrame(numbers, columns=[*keys, "test_psnr", "test_psnr_low", "test_psnr_high", "psnr_gap"])
    caption = (
        "Families against each other at equal cost: of each two families, the models nearest in parameters, and nearest in "
        f"multiply-adds, where these agree within a factor of {SLACK}; second minus first. A gap may shrink because the "
        f"network fits less: read the test PSNR first. {meaning(changes[0])} {context.scope}"
    )
    return Table(pd.DataFrame(cells, columns=heads), plain, caption, columns="lllrrrlr")


def _intervals(table: pd.DataFrame, lines: list[tuple]) -> list:
    return [
        difference(table[(table["dataset"] == dataset) & (table["train_size"] == size)], pair)
        for dataset, _, pair, _, size in lines
    ]


def _pairs(context: Context, costs: pd.DataFrame, present: set[str]) -> list[tuple[tuple[str, str], float]]:
    """Return, for each two families, the two trained models nearest in cost, and the ratio of second to first."""
    value = costs[costs["value"] > 0].groupby("model")["value"].mean()
    members: dict[str, list[str]] = {}
    for model in context.ordered(costs, "model"):
        if model in present and model in value:
            members.setdefault(context.plan["models"][model]["family"], []).append(model)
    found = []
    for one, other in itertools.combinations(members, 2):
        pair = min(
            itertools.product(members[one], members[other]),
            key=lambda p: max(value[p[1]] / value[p[0]], value[p[0]] / value[p[1]]),
        )
        ratio = float(value[pair[1]] / value[pair[0]])
        if 1 / SLACK <= ratio <= SLACK:
            found.append((pair, ratio))
    return found

"""Table A4: models of different families at equal parameters, and at equal multiply-adds."""

from __future__ import annotations

import itertools

import pandas as pd

from bench.report.context import Context
from bench.report.items import Item
from bench.report.paired import CLIPPED, Difference, at, difference, judged, meaning, shuffles
from bench.report.table import Table

ITEM = Item(
    title="Table A4",
    subject="Families at equal parameters and at equal multiply-adds",
    measures=("psnr", "cost"),
)

SLACK = 1.25  # costs count as equal within this factor
COSTS = {"parameters": "parameters", "macs": "multiply-adds"}


def build(context: Context) -> Table:
    """Build a row for each comparison, dataset and N: second minus first in test PSNR and gap.

    Of each two families the pairs of models nearest in either cost are taken. Raises BenchError where no two are near
    enough.
    """
    tests, gaps = context.rows("psnr_mean", split="test"), context.rows("psnr_gap_mean")
    lines = [
        (dataset, size, pair, ratios)
        for dataset in context.ordered(tests, "dataset")
        for pair, ratios in _pairs(context, tests[tests["dataset"] == dataset], dataset)
        for size in context.ordered(tests[tests["dataset"] == dataset], "train_size")
        if len(context.paired(at(tests, dataset, size), pair))
    ]
    if not lines:
        raise context.needs(
            f"two families whose costs agree within {SLACK}",
            instead="add models of another family under `runs`",
        )
    changes = [
        judged([difference(at(table, *line[:2]), line[2]) for line in lines], better)
        for table, better in ((tests, "higher"), (gaps, "lower"))
    ]
    cells = [_cells(context, line, *pair) for line, *pair in zip(lines, *changes, strict=True)]
    heads = ["Dataset", "Models", "Equal in", "Ratio", "N", "Δ Test PSNR (dB)", "Verdict", "Δ PSNR gap (dB)"]
    frame = pd.DataFrame(cells, columns=heads)
    return Table(frame, _numbers(lines, *changes), _caption(context, changes[0]), columns="lllrrrlr")


def _pairs(context: Context, tests: pd.DataFrame, dataset: str) -> list[tuple[tuple[str, str], dict]]:
    """Return each two models of two families that are nearest in a cost and agree in it, with both ratios."""
    values = {
        cost: context.rows(cost, dataset=dataset).groupby("model")["value"].mean().loc[lambda v: v > 0]
        for cost in COSTS
    }
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
    return list(found.items())


def _apart(ratio: float) -> float:
    return max(ratio, 1 / ratio)


def _equal_in(ratios: dict[str, float]) -> str:
    """Return the cost in which two models agree, "both", or nothing."""
    equal = [cost for cost, ratio in ratios.items() if _apart(ratio) <= SLACK]
    return "both" if len(equal) == len(COSTS) else "".join(equal)


def _cells(context: Context, line: tuple, test: Difference, gap: Difference) -> list[str]:
    dataset, size, (first, second), ratios = line
    equal = _equal_in(ratios)
    return [
        context.title(dataset), f"{context.label(first)} → {context.label(second)}", COSTS.get(equal, equal),
        " / ".join(f"{ratio:.2f}" for ratio in ratios.values()), f"{size:,}", test.text(), test.word, gap.text(),
    ]  # fmt: skip


def _numbers(lines: list[tuple], tests: list[Difference], gaps: list[Difference]) -> pd.DataFrame:
    records = [
        [
            *(dataset, _equal_in(ratios), *pair, *ratios.values(), size),
            *(test.interval.mean, test.interval.low, test.interval.high, test.word, gap.interval.mean),
        ]
        for (dataset, size, pair, ratios), test, gap in zip(lines, tests, gaps, strict=True)
    ]
    keys = ["dataset", "equal_in", "first", "second", *(f"{cost}_ratio" for cost in COSTS), "train_size"]
    measures = ["test_psnr", "test_psnr_low", "test_psnr_high", "verdict", "psnr_gap"]
    return pd.DataFrame(records, columns=[*keys, *measures])


def _caption(context: Context, tests: list[Difference]) -> str:
    return (
        "Families against each other at equal cost: of each two families, the models nearest in parameters, and nearest in "
        f"multiply-adds, where these agree within a factor of {SLACK}; each comparison stands once. Ratio: cost of the "
        "second over that of the first, parameters / multiply-adds. Δ: second minus first; the verdict is that of the test "
        f"PSNR. {CLIPPED} A gap may shrink because the network fits less: read the test PSNR first. {shuffles(tests)}. "
        f"{meaning(tests)} {context.scope}"
    )

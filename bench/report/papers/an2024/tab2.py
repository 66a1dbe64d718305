"""Table 2: distance of samples to the training distribution by the placement of local attention."""

from __future__ import annotations

import math

import pandas as pd

from bench.report.context import Context
from bench.report.items import Item
from bench.report.papers.an2024.roles import PLACEMENTS, placements
from bench.report.papers.an2024.tab1 import mean_of
from bench.report.protocols import protocol_in_words
from bench.report.table import Table

ITEM = Item(
    title="Table 2",
    subject="Distance of samples by placement",
    measures=("frechet",),
    counterpart="DiT-XS/1 on CelebA and ImageNet, N = 10,000 and 100,000",
)


def build(context: Context) -> Table:
    """Build a row for the baseline, each placement and networks of other families, a column for each dataset and N.

    Bold is the best of a group.
    """
    metric = "fid" if (context.tidy["metric"] == "fid").any() else "frechet"
    rows = context.rows(metric)
    groups = placements(context, set(rows["model"]))
    shown = rows[rows["model"].isin([m for group in groups.values() for m in group.values()])]
    rows = rows[rows["shuffle"].isin(shown["shuffle"])]  # the baseline may have been run more often
    columns = [
        (d, n) for d in context.ordered(shown, "dataset") for n in context.ordered(shown, "train_size")
    ]
    baseline = context.plan["models"][next(iter(shown["model"]))]["baseline"]
    lines = [("", "", baseline)] if baseline in set(rows["model"]) else []
    lines += [
        (name, place, group[place])
        for name, group in groups.items()
        for place in PLACEMENTS
        if place in group
    ]
    lines += [("", "", model) for model in others(context, rows)]
    drawn = rows[rows["model"].isin([model for *_, model in lines])]
    values = [[mean_of(rows, dataset=d, model=m, train_size=n) for d, n in columns] for *_, m in lines]
    rows_in_print = context.printed("Table 2")
    printed = [
        [context.print_of(rows_in_print, m, d, n) if metric == "fid" else math.nan for d, n in columns]
        for *_, m in lines
    ]
    cells, places = [], []
    for (name, place, model), numbers, paper in zip(lines, values, printed):
        places.append(len(cells))
        cells.append([f"w/ {name} ({place})" if name else context.label(model), *map(_cell, numbers)])
        if not all(map(math.isnan, paper)):
            cells.append(["in the paper", *map(_cell, paper)])
    bold = {(places[row], column) for row, column in _bold(lines, values)}
    frame = pd.DataFrame(cells, columns=["Model", *(f"{context.title(d)}, N = {n:,}" for d, n in columns)])
    return Table(
        frame, _numbers(metric, lines, columns, values, printed), _caption(context, metric, drawn), bold
    )


def others(context: Context, rows: pd.DataFrame) -> list[str]:
    """Return the models of another family than transformers with windows, say a UNet, to stand beneath."""
    models = context.plan["models"]
    windowed = {models[m]["family"] for m in set(rows["model"]) if models[m]["baseline"]}
    return [m for m in context.ordered(rows, "model") if models[m]["family"] not in windowed]


def _cell(value: float) -> str:
    return "" if math.isnan(value) else f"{value:.4f}"


def _bold(lines: list[tuple[str, str, str]], values: list[list[float]]) -> set[tuple[int, int]]:
    bold = set()
    for name in dict.fromkeys(name for name, *_ in lines if name):
        members = [i for i, line in enumerate(lines) if line[0] == name]
        for column in range(len(values[0])):
            known = [i for i in members if not math.isnan(values[i][column])]
            if len(known) > 1:
                bold.add((min(known, key=lambda i: values[i][column]), column + 1))
    return bold


def _numbers(metric: str, lines: list, columns: list, values: list, printed: list) -> pd.DataFrame:
    records = [
        (dataset, model, name, place, size, values[i][j], printed[i][j])
        for i, (name, place, model) in enumerate(lines)
        for j, (dataset, size) in enumerate(columns)
    ]
    return pd.DataFrame(
        records, columns=["dataset", "model", "windows", "placement", "train_size", metric, "printed_fid"]
    )


def _caption(context: Context, metric: str, shown: pd.DataFrame) -> str:
    what = "FID" if metric == "fid" else "Fréchet distance, not a FID"
    return (
        f"{what} (lower is better, best placement of a group in bold) with local attention in early layers (head), "
        f"every second layer (mix) or late layers (tail); {context.shuffles(shown)}. "
        f"{protocol_in_words(shown['protocol'].iloc[0])}. {context.scope}"
    )

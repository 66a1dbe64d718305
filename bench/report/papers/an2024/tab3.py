"""Table 3: distance of samples to the training distribution when windows keep their mean size, shrink, or grow."""

from __future__ import annotations

import math

import pandas as pd

from bench.report.context import Context
from bench.report.items import Item
from bench.report.papers.an2024.roles import comparisons
from bench.report.papers.an2024.tab1 import mean_of, percent
from bench.report.papers.an2024.tab2 import others
from bench.report.protocols import protocol_in_words
from bench.report.table import Table

ITEM = Item(
    title="Table 3",
    subject="Distance of samples by window size",
    measures=("frechet",),
    counterpart="DiT-XS/1 on CelebA and ImageNet, N = 10,000 and 100,000",
)


def build(context: Context) -> Table:
    """Build a row for each comparison, dataset and N, then the networks of other families.

    Bold marks the better of two.
    """
    metric = "fid" if (context.tidy["metric"] == "fid").any() else "frechet"
    rows = context.rows(metric)
    pairs = comparisons(context, set(rows["model"]))
    cells, numbers, bold = [], [], set()
    for name, pair in pairs.items():
        found = context.paired(rows, pair)
        for dataset in context.ordered(found, "dataset"):
            for size in context.ordered(found[found["dataset"] == dataset], "train_size"):
                values = [mean_of(found, dataset=dataset, model=m, train_size=size) for m in pair]
                in_print = context.printed("Table 3") if metric == "fid" else None
                printed = [
                    math.nan if in_print is None else context.print_of(in_print, m, dataset, size)
                    for m in pair
                ]
                variants = [context.plan["models"][m]["variant"] for m in pair]
                row = [f"{variants[0]} → {variants[1]}", context.title(dataset), f"{size:,}"]
                row += [f"{values[0]:.4f}", f"{values[1]:.4f}", percent(*values), _pair_text(*printed)]
                bold.add((len(cells), 3 if values[0] < values[1] else 4))
                cells.append(row)
                numbers.append([name, dataset, *pair, size, *values, *printed])
    shown = [context.paired(rows, pair) for pair in pairs.values()]
    for model in others(context, rows):
        own = rows[rows["model"] == model]
        shown.append(own)
        for dataset, size in own[["dataset", "train_size"]].drop_duplicates().itertuples(index=False):
            value = mean_of(own, dataset=dataset, train_size=size)
            cells.append(
                [context.label(model), context.title(dataset), f"{size:,}", f"{value:.4f}", "", "", ""]
            )
            numbers.append(["", dataset, model, "", size, value, *[math.nan] * 3])
    label = "FID" if metric == "fid" else "Fréchet"
    heads = ["Windows", "Dataset", "N", f"{label}, first", f"{label}, second", "Change", "Paper's FID"]
    frame = pd.DataFrame(cells, columns=heads)
    if not frame["Paper's FID"].any():
        frame = frame.drop(columns="Paper's FID")
    keys = ["comparison", "dataset", "first", "second", "train_size"]
    measures = [f"{m}_{w}" for m in (metric, "printed_fid") for w in ("first", "second")]
    return Table(
        frame,
        pd.DataFrame(numbers, columns=keys + measures),
        _caption(context, metric, pd.concat(shown)),
        bold,
    )


def _pair_text(first: float, second: float) -> str:
    return "" if math.isnan(first) else f"{first:.4f} → {second:.4f} ({percent(first, second)})"


def _caption(context: Context, metric: str, shown: pd.DataFrame) -> str:
    what = "FID" if metric == "fid" else "Fréchet distance, not a FID"
    return (
        f"{what} (lower is better, better of the two in bold) when the mean window is kept, "
        f"made smaller, or made larger; {context.shuffles(shown)}. The smaller and larger lists are assumed, the paper does "
        f"not give them. {protocol_in_words(shown['protocol'].iloc[0])}. {context.scope}"
    )

"""Distance of samples by placement.

Head: the first layers are local; mix: every second layer; tail: the last layers.
"""

from __future__ import annotations

import math

import pandas as pd

from bench.report.context import Context
from bench.report.items import Item
from bench.report.papers.an2024.roles import best, compared, in_words, others, placements
from bench.report.table import Table
from bench.report.wording import distance_in_words
from bench.results.tidy import at

ITEM = Item(
    "Table 2", measures=("frechet",), counterpart="DiT-XS/1 on CelebA and ImageNet, N = 10,000 and 100,000"
)


def build(context: Context) -> Table:
    """Build a row for the baseline, each placement and networks of other families, a column for each dataset and N.

    Bold is the best of a group among the runs that are fitted.
    """
    metric = context.distance
    rows = context.rows(metric)
    groups = placements(context, {*rows["model"]})
    rows = compared(rows, groups)
    shown = rows[rows["model"].isin([m for group in groups.values() for m in group.values()])]
    columns = [(d, n) for d, n, _ in context.groups(shown, "dataset", "train_size")]
    baseline = context.plan["models"][shown["model"].iloc[0]]["baseline"]
    lines = [("", "", baseline)] if baseline in {*rows["model"]} else []
    lines += [(name, place, model) for name, group in groups.items() for place, model in group.items()]
    lines += [("", "", model) for model in others(context, rows)]
    paper = context.printed("Table 2", metric=metric)
    records, places = [], []
    cells: list[list[str]] = []
    for name, place, model in lines:
        found = [at(rows, dataset=d, model=model, train_size=n)["value"] for d, n in columns]
        values, spreads = [own.mean() for own in found], [own.std() for own in found]
        printed = [context.print_of(paper, model, d, n) for d, n in columns]
        marks = [context.mark(model, d, n) for d, n in columns]
        places.append(len(cells))
        head = f"w/ {name} ({place})" if name else context.named(model)
        cells.append([head, *map(_cell, values, spreads, marks)])
        if not all(map(math.isnan, printed)):
            cells.append(["in the paper", *map(_cell, printed)])
        for (dataset, size), value, in_print in zip(columns, values, printed):
            records.append((dataset, model, name, place, size, value, in_print))
    keys = ["dataset", "model", "windows", "placement", "train_size", metric, "printed_fid"]
    numbers = pd.DataFrame(records, columns=keys)
    leading, line = best(context, numbers, metric), dict(zip((model for *_, model in lines), places))
    bold = {
        (line[row.model], columns.index((row.dataset, row.train_size)) + 1) for row in leading.itertuples()
    }
    frame = pd.DataFrame(cells, columns=["Model", *(f"{context.title(d)}, N = {n:,} ↓" for d, n in columns)])
    spread = " ± one standard deviation over shuffles" if shown["shuffle"].nunique() > 1 else ""
    caption = (
        f"{distance_in_words(rows)} with local attention in early layers (head), every second layer (mix) or late "
        f"layers (tail){', the best placement of a group in bold' * bool(bold)}; mean"
        f"{spread}, {context.shuffles(shown)}. "
        f"Best: {in_words(leading)}.{context.windows_of(model for *_, model in lines)}"
    )
    return Table(frame, numbers, caption, bold)


def _cell(value: float, spread: float = math.nan, mark: str = "") -> str:
    """Return a mean as the paper prints it, with one deviation over shuffles where there are several."""
    around = "" if math.isnan(spread) else f" ± {spread:.2g}"
    return "" if math.isnan(value) else f"{value:.4f}{around}{mark}"

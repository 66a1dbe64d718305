"""Both clocks by network and N, beside those of the network's baseline.

'later' and 'earlier' mean that the 95 % intervals do not overlap, or that one network's bound lies beyond the other's
interval; this is not corrected for the number of cells.  'after' is a bound: the training ended before the clock.
"""

from __future__ import annotations

from collections import Counter

import pandas as pd

from bench.report.context import Context
from bench.report.items import Item
from bench.report.papers.bonnaire2025.clock import NAMES, Reading, later, readings
from bench.report.table import Table

ITEM = Item("Table A10", measures=("clocks",))


def build(context: Context) -> Table:
    """Build a row for each dataset, network and N."""
    context.rows("clocks_copies")  # says what is missing
    clocks = {name: readings(context, name) for name in NAMES}
    cells = pd.DataFrame(list(clocks["memorization"]), columns=["dataset", "model", "train_size"])
    rows, numbers = [], []
    for dataset, model, size, _ in context.groups(cells, "dataset", "model", "train_size"):
        cell, base = (dataset, model, int(size)), context.plan["models"][model]["baseline"]
        before = clocks["memorization"].get((dataset, base, int(size)))
        word = later(before, clocks["memorization"][cell]) if before else ""
        texts = {f"Step at which {words}": clocks[name][cell].text() for name, words in NAMES.items()}
        rows.append(
            {"Dataset": context.title(dataset), "Model": context.label(model), "N": f"{size:,}"}
            | texts
            | {"Copies begin, against the baseline": word}
        )
        numbers.append(
            {"dataset": dataset, "model": model, "train_size": size, "against_baseline": word}
            | {f"{name}_{end}": value for name in NAMES for end, value in _ends(clocks[name][cell])}
        )
    words = Counter(row["against_baseline"] for row in numbers if row["against_baseline"])
    counts = ", ".join(f"{word} in {count}" for word, count in words.items())
    finding = (
        f" Copies begin, against the network's baseline: {counts} of {words.total()} cells." if words else ""
    )
    caption = f"When samples are best and when copies begin; {context.shuffles(context.rows('clocks_copies'))}.{finding}"
    return Table(pd.DataFrame(rows), pd.DataFrame(numbers), caption, groups=1)


def _ends(one: Reading) -> list[tuple[str, float | None]]:
    return [("step", one.step), ("low", one.low), ("high", one.high), ("shuffles", one.shuffles)]

"""Locality of attention in numbers, by layer and N.

Dotted: uniform attention on the finest grid of the network; layers on coarser grids (UNets) have fewer tokens and are
comparable only with themselves. Curves that become more local (arrows) as N grows correspond to the diagonals of
Fig. 4.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from bench.report.context import Context
from bench.report.curves import MOST, Line, Panel, band, grid
from bench.report.items import Item
from bench.report.style import size
from bench.results.tidy import at

ITEM = Item("Figure A4", arrays=("attention",), measures=("attention",))
METRICS = (
    ("attention_distance", "mean distance\n(tokens) ↓"),
    ("attention_mass_w3", "share inside\na 3x3 window ↑"),
    ("attention_entropy", "entropy of a row\n(nats) ↓"),
)


def draw(context: Context) -> tuple[Figure, str]:
    """Draw a column for each model with attention, a row for each number, on the first dataset."""
    rows = context.rows("attention_distance")
    dataset = context.ordered(rows, "dataset")[0]
    rows = at(rows, dataset=dataset)
    models, sizes = context.ordered(rows, "model")[:MOST], context.ordered(rows, "train_size")
    uniform = {model: _uniform(context, dataset, model) for model in models}
    panels: list[Panel] = []
    for metric, name in METRICS:
        if context.has(metric):
            table = context.rows(metric, dataset=dataset)
            for model in models:
                panel = Panel("" if panels[len(models) - 1 :] else context.label(model), name)
                for number, n in enumerate(sizes):
                    own = at(table, model=model, train_size=n)
                    panel.lines.append(Line(own, size(n), number, number, number))
                panel.levels.append((uniform[model][metric], "uniform attention", "0.5"))
                panels.append(panel)
    figure, axes = grid(panels, len(models), 1.3, "layer")
    for ax in axes:
        ax.margins(x=0.1)
    return figure, (
        f"{context.title(dataset)}: the mean distance over which a token attends, the share of attention inside a "
        "3x3 window around it and the entropy, by layer; averages over heads, images and the noise levels "
        f"measured; {context.shuffles(rows)}{band(rows)}. "
        f"{_finding(context, rows, models, sizes)}{context.windows_of(models)}"
    )


def _uniform(context: Context, dataset: str, model: str) -> dict[str, float]:
    """Return the three numbers of attention that is the same everywhere, on the finest grid of a network."""
    run = at(context.runs("attention_distance"), dataset=dataset, model=model).iloc[0]
    arrays = context.arrays("attention", dataset, model, int(run["train_size"]), int(run["shuffle"]))
    places = np.stack(np.meshgrid(*(np.arange(n) for n in arrays["grid"])), -1).reshape(-1, 2)
    apart = places[:, None] - places
    near = (np.abs(apart).max(-1) <= 1).mean()
    distance, entropy = float(np.linalg.norm(apart, axis=-1).mean()), float(np.log(len(places)))
    return {"attention_distance": distance, "attention_mass_w3": float(near), "attention_entropy": entropy}


def _finding(context: Context, rows: pd.DataFrame, models: list[str], sizes: list[int]) -> str:
    """Return the mean distance of each model at the smallest and the largest N."""
    means = rows.groupby(["model", "train_size"])["value"].mean()
    parts = [
        f"{context.label(m)} {means[m, sizes[0]]:.2f} and {means[m, sizes[-1]]:.2f}"
        for m in models
        if {(m, sizes[0]), (m, sizes[-1])} <= {*means.index}
    ]
    return (
        f"Mean distance over layers at {size(sizes[0])} and {size(sizes[-1])}: {', '.join(parts)}."
        if parts
        else ""
    )

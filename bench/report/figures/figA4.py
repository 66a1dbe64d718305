"""Figure A4: locality of attention in numbers, by layer and N."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from bench.report.context import Context
from bench.report.curves import band, curve, name_columns
from bench.report.items import Item
from bench.report.style import count, legend, new_figure

ITEM = Item(
    title="Figure A4",
    subject="Locality of attention in numbers, by layer and N",
    measures=("attention",),
)

METRICS = (
    ("attention_distance", "mean distance\n(tokens) ←"),
    ("attention_mass_w3", "share inside\na 3x3 window →"),
    ("attention_entropy", "entropy of a row\n(nats) ←"),
)
MOST = 4  # models side by side


def _uniform(context: Context, dataset: str, model: str) -> dict[str, float]:
    """Return the three numbers of attention that is the same everywhere, on the finest grid of a network."""
    run = context.runs("attention_distance").set_index(["dataset", "model"]).loc[[(dataset, model)]].iloc[0]
    arrays = context.arrays("attention", dataset, model, int(run["train_size"]), int(run["shuffle"]))
    places = np.stack(np.meshgrid(*(np.arange(n) for n in arrays["grid"])), -1).reshape(-1, 2)
    apart = places[:, None] - places
    near = (np.abs(apart).max(-1) <= 1).mean()
    return {
        "attention_distance": float(np.linalg.norm(apart, axis=-1).mean()), "attention_mass_w3": float(near),
        "attention_entropy": float(np.log(len(places))),
    }  # fmt: skip


def draw(context: Context) -> tuple[Figure, str]:
    """Draw a column for each model with attention, a row for each number, on the first dataset."""
    rows = context.rows("attention_distance")
    dataset = context.ordered(rows, "dataset")[0]
    rows = rows[rows["dataset"] == dataset]
    models, sizes = context.ordered(rows, "model")[:MOST], context.ordered(rows, "train_size")
    known = [(m, name) for m, name in METRICS if (context.tidy["metric"] == m).any()]
    uniform = {model: _uniform(context, dataset, model) for model in models}
    figure = new_figure(1.3 * len(known) + 0.35)
    axes = figure.subplots(len(known), len(models), squeeze=False, sharex="col", sharey="row")
    for line, (metric, name) in zip(axes, known):
        table = context.rows(metric, dataset=dataset)
        for ax, model in zip(line, models):
            for number, size in enumerate(sizes):
                here = table[(table["model"] == model) & (table["train_size"] == size)]
                curve(ax, here, "index", f"N = {count(size)}", number, number, marker=number)
            ax.axhline(uniform[model][metric], color="0.5", linestyle=":", label="uniform attention")
            ax.xaxis.set_major_locator(MaxNLocator(5, integer=True, min_n_ticks=1))
            ax.margins(x=0.1)
        line[0].set_ylabel(name)
    name_columns(context, axes, models, "layer")
    legend(figure)
    return figure, (
        f"{context.title(dataset)}: how far a token looks, by layer: the mean distance of what it attends to, the share of "
        f"attention inside a 3x3 window around it, the entropy. Dotted: attention that is the same everywhere, on the "
        f"finest grid of the network; layers on coarser grids (UNets) have less room, compare those with themselves only. "
        f"Averages over heads, images and the noise levels measured; "
        f"{context.shuffles(rows)}, {band(rows)}. Curves that move towards local (arrows) as N grows are what Fig. 4 shows "
        f"as a diagonal. {context.scope}"
    )

"""From copies to patches: agreement with closed forms against N.

A sweep that the paper does not have. Samples of a network are compared with each machine's from the same noise. A
network that memorises agrees with the ideal denoiser, one that has only seen patches with a local machine, one that
has learned only a covariance with the linear filter.
"""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure

from bench.report.context import Context
from bench.report.curves import Line, Panel, band, grid
from bench.report.items import Item
from bench.report.papers.kamb2025.machines import MACHINES, METRIC, ordered
from bench.results.tidy import at

ITEM = Item("Figure A17", measures=("agreement",))


def draw(context: Context) -> tuple[Figure, str]:
    """Draw a panel for each dataset and network; a line for each machine."""
    table, panels, parts = context.rows(METRIC), [], []
    for dataset, model, own in context.groups(table, "dataset", "model"):
        if context.is_control(model) or own["train_size"].nunique() < 2:
            continue
        signs = context.marks(model, dataset, context.ordered(own, "train_size"))
        panel = Panel(f"{context.label(model)}\n{context.title(dataset)}{signs}", "correlation of samples")
        for k, name in enumerate(ordered(own["split"])):
            panel.lines.append(Line(at(own, split=name), MACHINES[name], k, k % 4, k))
        panels.append(panel)
        parts.append(f"{context.label(model)} on {context.title(dataset)} {_leaders(context, own)}")
    if not panels:
        raise context.needs(
            "agreement at two training sizes of a network", instead="add another N under `runs`"
        )
    figure, axes = grid(panels, 3, 1.6, "training images N", x="train_size", share="all", legend_columns=5)
    for ax in axes:
        ax.set_xscale("log")
        ax.set_xticks(sizes := context.ordered(table, "train_size"), [f"{n:,}" for n in sizes])
        ax.minorticks_off()
    return figure, (
        "Correlation of a network's sample with that of each machine, built from the same N images, from the same noise, "
        f"median over starting noises; {context.shuffles(table)}{band(table)}. "
        f"Nearest machine at each N: {'; '.join(parts)}."
    )


def _leaders(context: Context, own: pd.DataFrame) -> str:
    """Return the machine of the highest correlation at each N."""
    means = own.groupby(["train_size", "split"])["value"].mean().unstack()
    return ", ".join(
        f"at N = {n:,} {MACHINES[row.idxmax()]} ({row.max():.2f})" for n, row in means.iterrows()
    )

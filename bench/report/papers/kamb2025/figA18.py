"""Patch sizes that best match a network, against noise.

The patch size, in pixels, whose score machine matches the network best at each step of its trajectory, 0 the least noisy. A
size at the top of the range means at least that: larger ones were not tried. Of sizes that match equally well, the smallest
is taken.
"""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure

from bench.report.context import Context
from bench.report.curves import STEP_AXIS, Line, Panel, band, grid
from bench.report.items import Item
from bench.report.papers.kamb2025.machines import MACHINES, own
from bench.report.style import size
from bench.results.tidy import at

ITEM = Item(
    "Figure A18",
    measures=("patch_size",),
    counterpart="patch sizes of its ten networks at 20 steps, from the files of its code",
)
PRINTED = "Calibrated patch sizes"


def draw(context: Context) -> tuple[Figure, str]:
    """Draw a panel for each dataset and network, for the machine of its padding; a line for each N."""
    table, panels = context.rows("patch_size"), []
    table, sizes = table[table["model"].isin(context.networks(table))], context.ordered(table, "train_size")
    for dataset, model, rows in context.groups(table, "dataset", "model"):
        name = own(context, model)
        signs = context.marks(model, dataset, context.ordered(rows, "train_size"))
        panel = Panel(f"{context.label(model)}\n{context.title(dataset)}{signs}", "patch (pixels)")
        rows = at(rows, split=name)
        for n in context.ordered(rows, "train_size"):
            k = sizes.index(n)
            panel.lines.append(Line(at(rows, train_size=n), size(n), k, k % 4, k))
        panels.append(panel)
    figure, axes = grid(panels, 3, 1.6, STEP_AXIS, share="all")
    axes[0].set_yticks(range(int(table["value"].min()), int(table["value"].max()) + 1, 2))
    names = " or ".join(dict.fromkeys(MACHINES[own(context, m)] for m in context.ordered(table, "model")))
    ends = [_ends(context, table, model) for model in context.ordered(table, "model")]
    return figure, (
        f"Side of the patch at which the score of the {names} machine, built from the network's N images, has the highest "
        f"cosine with the network's score on its DDIM trajectory; median over starting noises; "
        f"{context.shuffles(table)}{band(table)}. From the "
        f"least to the most noisy step, mean: {'; '.join(ends)}. {_printed(context)}"
    )


def _ends(context: Context, table: pd.DataFrame, model: str) -> str:
    rows = at(table, model=model, split=own(context, model))
    means = rows.groupby("index")["value"].mean()
    return f"{context.label(model)} {means.iloc[0]:.1f} to {means.iloc[-1]:.1f}"


def _printed(context: Context) -> str:
    """Return the sizes in the paper's code for CIFAR-10, at the steps of its own schedule."""
    rows = context.printed(PRINTED, dataset="CIFAR-10")
    parts = [
        f"{model} {', '.join(f'{v:.0f}' for v in part.sort_values('index')['value'])}"
        for model, part in rows.groupby("model", sort=False)
    ]
    return f"The paper's patch sides on CIFAR-10 at 32x32, 20 steps of a cosine schedule, are: {'; '.join(parts)}."

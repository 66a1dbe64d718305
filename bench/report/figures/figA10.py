"""Figure A10: share of samples that copy a training image, against N."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bench.report.context import Context
from bench.report.curves import field
from bench.report.items import Item
from bench.report.style import MARKERS, PALETTE, count, legend, new_figure

ITEM = Item(
    title="Figure A10",
    subject="Share of copied samples",
    measures=("memorization",),
)


def draw(context: Context) -> tuple[Figure, str]:
    """Draw a panel for each dataset: a row for each model, a marker for each N, and test images as the control."""
    rows = context.rows("memorized_share")
    rows = rows[field(rows, "space") == "pixels"]
    datasets, models = context.ordered(rows, "dataset"), context.ordered(rows, "model")[::-1]
    sizes = context.ordered(rows, "train_size")
    columns = min(3, len(datasets))
    figure = new_figure(-(-len(datasets) // columns) * (0.6 + 0.13 * len(models)) + 0.3)
    axes = figure.subplots(-(-len(datasets) // columns), columns, squeeze=False, sharey=True).ravel()
    for ax in axes[len(datasets) :]:
        ax.remove()
    for ax, dataset in zip(axes, datasets):
        _panel(ax, rows[rows["dataset"] == dataset], models, sizes)
        ax.set_yticks(range(len(models)), [context.label(m) for m in models])
        ax.set_title(context.title(dataset))
        ax.set_xlabel("copied samples (%) ←")
    legend(figure)
    ratio = field(rows, "ratio").iloc[0]
    whiskers = ", whiskers are one standard deviation" if rows["shuffle"].nunique() > 1 else ""
    return figure, (
        f"Share of samples whose nearest training image, in pixels, is closer than {float(ratio):.2g} of the distance to "
        f"the second nearest; the same of test images, which are no copies, is what the criterion finds by chance (dotted). "
        f"The scale is linear "
        f"up to 1 %. "
        f"{context.shuffles(rows)}{whiskers}. {context.scope}"
    )


def _panel(ax: Axes, table: pd.DataFrame, models: list[str], sizes: list[int]) -> None:
    for number, size in enumerate(sizes):
        here = table[table["train_size"] == size]
        values = here[here["split"] == ""].groupby("model")["value"]
        mean, spread = (100 * v.reindex(models) for v in (values.mean(), values.std()))
        ax.errorbar(
            mean, np.arange(len(models)) + 0.15 * (number - (len(sizes) - 1) / 2), xerr=spread, linestyle="none",
            color=PALETTE[number], marker=MARKERS[number], markersize=3.5, label=f"N = {count(size)}",
        )  # fmt: skip
        chance = 100 * here[here["split"] == "test"]["value"].mean()
        ax.axvline(
            chance,
            color=PALETTE[number],
            linestyle=":",
            linewidth=0.8,
            label=f"test images, N = {count(size)}",
        )
    ax.set_xscale("symlog", linthresh=1)
    ax.set_xlim(-0.1, 130)
    ax.set_xticks([0, 1, 10, 100], ["0", "1", "10", "100"])

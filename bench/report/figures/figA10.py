"""Share of copies among samples.

A sample is a copy if its nearest training image, in pixels, is closer than a fraction of the distance to the second
nearest. Dotted: the share of test images, which cannot be copies, that meet the criterion. The scale is
linear up to 1 %.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bench.report.context import Context
from bench.report.curves import colour, positions
from bench.report.items import Item
from bench.report.style import MARKERS, legend, new_figure, size
from bench.results.tidy import at, in_pixels, protocol_field

ITEM = Item("Figure A10", measures=("memorization",))
Z = 1.96  # of a 95 % interval


def draw(context: Context) -> tuple[Figure, str]:
    """Draw a panel for each dataset: a row for each model, a marker for each N, and test images as the control."""
    rows = in_pixels(context.rows("memorized_share"))
    networks = context.networks(rows)
    models = [*networks, *(m for m in context.ordered(rows, "model") if m not in networks)][::-1]
    datasets, sizes = context.ordered(rows, "dataset"), context.ordered(rows, "train_size")
    columns = min(3, len(datasets))
    lines = -(-len(datasets) // columns)
    figure = new_figure(lines * (0.6 + 0.14 * len(models)) + 0.3)
    axes = figure.subplots(lines, columns, squeeze=False, sharey=True).ravel()
    for ax in axes[len(datasets) :]:
        ax.remove()
    for ax, dataset in zip(axes, datasets):
        _panel(ax, context, at(rows, dataset=dataset), models, sizes)
        ax.set_title(context.title(dataset))
        ax.set_xlabel("share of copies (%)")
    axes[0].set_ylim(-0.6, len(models) - 0.4)
    axes[0].set_yticks(range(len(models)), [context.label(m) for m in models])
    legend(figure)
    ratio = float(protocol_field(rows, "ratio").iloc[0])
    trained = (
        at(rows[rows["model"].isin(networks)], split="")
        .groupby(["model", "dataset", "train_size"])["value"]
        .mean()
    )
    most, where = trained.max(), trained.idxmax()
    found = (
        f"{context.label(where[0])} on {context.title(where[1])} at {size(where[2])}, {100 * most:.1f} %"
        if most
        else "none"
    )
    return figure, (
        f"Share of samples whose nearest training image is closer than {ratio:.2g} of the distance to the second "
        f"nearest; {context.shuffles(rows)}; whiskers span the 95 % Wilson interval over all samples and the share "
        f"of every shuffle. Largest share of a network: {found}."
    )


def _panel(ax: Axes, context: Context, table: pd.DataFrame, models: list[str], sizes: list[int]) -> None:
    for number, n in enumerate(sizes):
        here = at(table, train_size=n)
        places, means, low, high = [], [], [], []
        for place, model in enumerate(models):
            own = at(here, model=model, split="")
            if len(own):
                shares = own["value"].to_numpy()
                ends = interval(shares, int(protocol_field(own, "samples").iloc[0]))
                places.append(place - positions(len(sizes), number))
                means.append(100 * shares.mean())
                low.append(means[-1] - 100 * ends[0])
                high.append(100 * ends[1] - means[-1])
                mark = context.mark(model, own["dataset"].iloc[0], n).strip()
                where = (100 * ends[1], places[-1])
                ax.annotate(
                    mark,
                    where,
                    (2, 0),
                    textcoords="offset points",
                    va="center",
                    fontsize=6,
                    color=colour(number),
                )
        look = {
            "color": colour(number),
            "marker": MARKERS[number],
            "markersize": 3.2,
            "linestyle": "none",
            "elinewidth": 0.8,
        }
        ax.errorbar(means, places, xerr=np.maximum([low, high], 0), label=size(n), **look)
        chance = 100 * at(here, split="test")["value"].mean()
        ax.axvline(
            chance, color=colour(number), linestyle=":", linewidth=0.8, label=f"test images, {size(n)}"
        )
    ax.set_xscale("symlog", linthresh=1)
    ax.set_xlim(-0.1, 130)
    ax.set_xticks([0, 1, 10, 100], ["0", "1", "10", "100"])


def interval(shares: np.ndarray, samples: int) -> tuple[float, float]:
    """Return the Wilson interval of the mean share over all samples, wide enough for the share of every shuffle."""
    count, share = samples * len(shares), float(shares.mean())
    middle = (share + Z**2 / (2 * count)) / (1 + Z**2 / count)
    half = Z * np.sqrt(share * (1 - share) / count + Z**2 / (4 * count**2)) / (1 + Z**2 / count)
    return float(max(0.0, min(middle - half, *shares))), float(min(1.0, max(middle + half, *shares)))

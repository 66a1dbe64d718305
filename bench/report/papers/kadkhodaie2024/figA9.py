"""Two networks on disjoint halves.

Memorising networks draw samples close to their own training images and unlike each other's. Generalizing networks draw
similar samples, having learned the same denoiser from different images (Kadkhodaie et al., Fig. 2), unless neither has
learned much: compare Figs. A8 and A11. Linear filters of both halves agree because a covariance needs few images.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bench.report.context import Context
from bench.report.curves import STEP_AXIS, Line, band, draw_line, positions
from bench.report.items import Item
from bench.report.style import GREY, MARKERS, PALETTE, legend, panels, size
from bench.results.tidy import at

ITEM = Item("Figure A9", measures=("halves",))
GRID = 50  # step indices of the common axis
KINDS = {
    "halves_sample_cosine": "sample of a with sample of b",
    "halves_training_cosine": "sample with the most similar training image",
}


def draw(context: Context) -> tuple[Figure, str]:
    """Draw, for each dataset and network, agreement by noise level on the left, of samples by N on the right."""
    steps = _common(context.rows("halves_x0_cosine", recipe=None))
    samples = {metric: context.rows(metric, recipe=None) for metric in KINDS}
    networks = context.networks(steps)
    shown = [(d, m) for d, m, _ in context.groups(steps, "dataset", "model") if m in networks]
    figure, axes = panels(2 * len(shown), 2, 1.6)
    every = context.ordered(steps, "train_size")
    for (dataset, model), left, right in zip(shown, axes[::2], axes[1::2]):
        here = at(steps, dataset=dataset, model=model)
        sizes = context.ordered(here, "train_size")
        for n in sizes:
            number = every.index(n)  # an N looks the same in all rows
            draw_line(left, Line(at(here, train_size=n), size(n), number, number, number), x="common")
        linear = _common(context.control("halves_x0_cosine", "wiener", dataset=dataset, recipe="half-b"))
        for number, n in enumerate(sizes):
            name = f"Wiener, {size(n)}"
            draw_line(left, Line(at(linear, train_size=n), name, GREY, 1 + number), x="common")
        for number, (metric, label) in enumerate(KINDS.items()):
            _by_size(right, at(samples[metric], dataset=dataset, model=model), sizes, label, number)
        right.set_xticks(range(len(sizes)), [f"{n:,}{context.mark(model, dataset, n)}" for n in sizes])
        right.set_xlabel("training images N")
        for ax in (left, right):
            ax.set_ylim(min(0.0, ax.get_ylim()[0]), 1.03)
        left.set_title(f"{context.title(dataset)}, {context.label(model)}")
        right.set_title("samples from the same noise")
        left.set_xlabel(STEP_AXIS)
        left.set_xlim(-1, GRID)
        left.set_ylabel("cosine of the two\nestimates ↑")
        right.set_ylabel("mean cosine")
    legend(figure, 3)
    return figure, (
        "Two networks, a and b, each trained on N images that the other never saw. Left: the cosine of their x0 "
        "estimates on the same noisy test images. Right: samples from the same noise; the cosine between the two "
        "networks' samples, and between a sample and the most similar training image; "
        f"{context.shuffles(steps)}{band(steps, 'bands and whiskers')}. {_finding(context, samples, shown)}"
    )


def _common(rows: pd.DataFrame) -> pd.DataFrame:
    """Return rows with a column ``common``: the step index on the axis of all figures, whatever grid was measured."""
    last = max(int(rows["index"].max()), 1) if len(rows) else 1
    return rows.assign(common=rows["index"].astype(float) * (GRID - 1) / last)


def _by_size(ax: Axes, table: pd.DataFrame, sizes: list[int], label: str, number: int) -> None:
    values = table.groupby("train_size")["value"]
    mean, spread = (v.reindex(sizes).to_numpy() for v in (values.mean(), values.std()))
    error = None if np.isnan(spread).all() else spread
    places = np.arange(len(sizes)) + positions(2, number, 0.04)
    look = {"color": PALETTE[6 + number], "marker": MARKERS[4 + number]}  # which no N has
    ax.errorbar(places, mean, error, label=label, capsize=2, **look)
    ax.margins(x=0.15)


def _finding(context: Context, samples: dict[str, pd.DataFrame], shown: list[tuple[str, str]]) -> str:
    """Return how alike the samples of both networks are at the largest N."""
    parts = []
    for dataset, model in shown:
        own = at(samples["halves_sample_cosine"], dataset=dataset, model=model)
        largest = at(own, train_size=own["train_size"].max())
        if len(largest):
            n, name = int(largest["train_size"].iloc[0]), f"{context.title(dataset)}, {context.label(model)}"
            parts.append(f"{name} {largest['value'].mean():.2f} at {size(n)}")
    return f"Cosine between the samples of a and b: {', '.join(parts)}."

"""Figure A9: two networks trained on disjoint halves: do they agree?"""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bench.report.context import Context
from bench.report.curves import band, curve
from bench.report.items import Item
from bench.report.style import MARKERS, PALETTE, count, legend, panels

ITEM = Item(
    title="Figure A9",
    subject="Two networks on disjoint halves",
    measures=("halves",),
)


def draw(context: Context) -> tuple[Figure, str]:
    """Draw, for each dataset and model, agreement by noise level on the left, of samples by N on the right."""
    steps = context.rows("halves_x0_cosine", recipe=None)
    samples, own = (context.rows(f"halves_{m}_cosine", recipe=None) for m in ("sample", "training"))
    shown = [
        (d, m)
        for d in context.ordered(steps, "dataset")
        for m in context.ordered(steps[steps["dataset"] == d], "model")
    ]
    figure, axes = panels(2 * len(shown), 2, 1.6)
    for (dataset, model), left, right in zip(shown, axes[::2], axes[1::2]):
        here, pairs, nearest = (
            t[(t["dataset"] == dataset) & (t["model"] == model)] for t in (steps, samples, own)
        )
        sizes = context.ordered(here, "train_size")
        for number, size in enumerate(sizes):
            table = here[here["train_size"] == size]
            curve(left, table, "index", f"N = {count(size)}", number, number, marker=number, every=5)
        _by_size(right, pairs, sizes, "sample of a with the same of b", 0)
        _by_size(right, nearest, sizes, "sample with its own training images", 1)
        for ax in (left, right):
            ax.set_ylim(min(0.0, ax.get_ylim()[0]), 1.03)
        left.set_title(f"{context.title(dataset)}, {context.label(model)}")
        right.set_title("samples from the same noise")
        left.set_xlabel("step index (0: least noise)")
        left.set_ylabel("cosine of the two\nestimates →")
        right.set_ylabel("mean cosine")
    legend(figure, 3)
    return figure, (
        "Two networks, each trained on N images that the other never saw. Left: the cosine of their image estimates on the "
        "same noisy test images. Right: samples from the same noise; the cosine between the two networks' samples, and "
        f"between a sample and the most similar training image. {context.shuffles(steps)}, {band(steps)}. Memorising: "
        "samples near their own training images and unlike each other. Generalizing: alike, the same denoiser learned "
        f"from other images (Kadkhodaie et al. 2024, Fig. 2), unless both are alike because neither has learned much: "
        f"compare Figs. A8 and A11. {context.scope}"
    )


def _by_size(ax: Axes, table, sizes: list[int], label: str, number: int) -> None:
    values = table.groupby("train_size")["value"]
    mean, spread = (v.reindex(sizes).to_numpy() for v in (values.mean(), values.std()))
    ax.errorbar(
        range(len(sizes)), mean, None if np.isnan(spread).all() else spread, color=PALETTE[2 + number],
        marker=MARKERS[2 + number], label=label, capsize=2,
    )  # fmt: skip
    ax.set_xticks(range(len(sizes)), [f"N = {count(n)}" for n in sizes])
    ax.margins(x=0.15)

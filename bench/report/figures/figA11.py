"""Samples and their nearest training images.

A matching pair is a copy. Samples that look alike across rows of large N come from networks that learned the same density.
Rows of noise look alike for another reason: the training was too short for sampling, and distances between such samples
mean little.
"""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from bench.report.context import Context
from bench.report.items import Item
from bench.report.style import SMALL, new_figure, picture, size
from bench.results.tidy import at, in_pixels

ITEM = Item("Figure A11", arrays=("samples", "memorization"), measures=("memorization", "frechet"))
SHOWN, ABREAST = 8, 2  # samples of a block, blocks in a line


def draw(context: Context) -> tuple[Figure, str]:
    """Draw two rows of pictures for each model and N, on the first dataset whose pictures may be shown.

    With two N, those of a model are side by side.
    """
    runs = context.runs("memorized_share")
    dataset, _ = context.pictured(runs)
    rows = [
        (model, int(n), int(own["shuffle"].iloc[0]))
        for model, n, own in context.groups(at(runs, dataset=dataset), "model", "train_size")
    ]
    lines = -(-len(rows) // ABREAST)
    figure = new_figure(0.9 * lines + 0.1)
    axes = figure.subplots(lines, ABREAST, squeeze=False).ravel()
    for ax in axes[len(rows) :]:
        ax.remove()
    for ax, (model, n, shuffle) in zip(axes, rows):
        samples = context.arrays("samples", dataset, model, n, shuffle).get("samples")
        nearest = context.arrays("memorization", dataset, model, n, shuffle).get("nearest_samples_pixels")
        if samples is None or nearest is None:
            ax.set_axis_off()
            ax.text(0.5, 0.5, "withheld by licence", ha="center", va="center", fontsize=SMALL, color="0.4")
        else:
            shown = min(SHOWN, len(samples), len(nearest))
            picture(ax, mosaic([samples[:shown], nearest[:shown]]), cmap="gray", vmin=0, vmax=255)
            ax.set_ylabel("nearest   sample", fontsize=SMALL)
            ax.spines[:].set_visible(False)
        ax.set_title(f"{context.label(model)}, {size(n)}{context.mark(model, dataset, n)}", fontsize=7, pad=2)
    shares = (
        at(in_pixels(context.rows("memorized_share", dataset=dataset)), split="")
        .groupby(["model", "train_size"])["value"]
        .mean()
    )
    copies = ", ".join(
        f"{context.label(m)}, {size(n)}: {100 * shares[m, n]:.0f} %"
        for m, n, _ in rows
        if shares[m, n] >= 0.005
    )
    return figure, (
        f"{context.title(dataset)}: samples and, below each, the training image nearest to it in pixels. All rows "
        "start from the same noise, and the first samples are shown, unselected. Copies among all samples: "
        f"{copies or 'none'}."
    )


def mosaic(rows: list[np.ndarray]) -> np.ndarray:
    """Return rows of images (n, H, W, C), uint8, as one picture with white lines between them."""
    lines = []
    for images in rows:
        edged = np.pad(images, ((0, 0), (1, 1), (1, 1), (0, 0)), constant_values=255)
        lines.append(np.concatenate(list(edged), axis=1))
    return np.concatenate(lines)

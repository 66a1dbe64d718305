"""Figure A11: samples, each above the training image nearest to it."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from bench.report.context import Context
from bench.report.items import Item
from bench.report.style import count, new_figure, picture, withheld

ITEM = Item(
    title="Figure A11",
    subject="Samples and their nearest training images",
    arrays=("samples", "memorization"),
    measures=("memorization", "frechet"),
)

SHOWN = 12


def draw(context: Context) -> tuple[Figure, str]:
    """Draw two rows of pictures for each model and N, on the first dataset."""
    runs = context.runs("memorized_share")
    dataset = context.ordered(runs, "dataset")[0]
    runs = runs[runs["dataset"] == dataset]
    rows = [
        (model, int(run.train_size), int(run.shuffle))
        for model in context.ordered(runs, "model")
        for run in runs[runs["model"] == model].sort_values("train_size").itertuples()
    ]
    figure = new_figure(1.12 * len(rows) + 0.1)
    for ax, (model, size, shuffle) in zip(figure.subplots(len(rows), 1, squeeze=False)[:, 0], rows):
        samples = context.arrays("samples", dataset, model, size, shuffle).get("samples")
        nearest = context.arrays("memorization", dataset, model, size, shuffle)
        nearest = nearest.get("nearest_samples_pixels")
        if samples is None or nearest is None:
            withheld(ax)
        else:
            shown = min(SHOWN, len(samples), len(nearest))
            picture(ax, mosaic([samples[:shown], nearest[:shown]]), cmap="gray", vmin=0, vmax=255)
            ax.set_ylabel("nearest   sample", fontsize=6)
            for spine in ax.spines.values():
                spine.set_visible(False)
        ax.set_title(f"{context.label(model)}, N = {count(size)}", fontsize=7, pad=2)
    return figure, (
        f"{context.title(dataset)}: samples and, beneath each, the training image nearest to it in pixels. All rows start "
        "from the same noise, and the first samples are shown, unselected. A pair that agrees is a copy; samples that look "
        "alike between rows of large N have come from networks that learned the same density. Rows of noise are alike for "
        "another reason: the training was too short for sampling, and distances between such samples say little. "
        f"{context.scope}"
    )


def mosaic(rows: list[np.ndarray]) -> np.ndarray:
    """Return rows of images (n, H, W, C), uint8, as one picture with white lines between them."""
    lines = []
    for images in rows:
        edged = np.pad(images, ((0, 0), (1, 1), (1, 1), (0, 0)), constant_values=255)
        lines.append(np.concatenate(list(edged), axis=1))
    return np.concatenate(lines)

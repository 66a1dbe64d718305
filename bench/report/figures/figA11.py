"""Figure A11: samples, each above the training image nearest to it."""

from __future__ import annotations

from matplotlib.figure import Figure

from bench.report.context import Context
from bench.report.style import count, new_figure, picture, withheld

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
    figure = new_figure(0.93 * len(rows) + 0.1)
    blocks = figure.subfigures(len(rows), 1, squeeze=False, hspace=0.0)[:, 0]
    for block, (model, size, shuffle) in zip(blocks, rows):
        block.suptitle(f"{context.label(model)}, N = {count(size)}", fontsize=7, x=0.02, ha="left")
        samples = context.arrays("samples", dataset, model, size, shuffle).get("samples")
        nearest = context.arrays("memorization", dataset, model, size, shuffle)
        nearest = nearest.get("nearest_samples_pixels")
        if samples is None or nearest is None:
            withheld(block.subplots())
            continue
        shown = min(SHOWN, len(samples), len(nearest))
        axes = block.subplots(2, shown, squeeze=False)
        for line, images, name in zip(axes, (samples, nearest), ("sample", "nearest")):
            for ax, image in zip(line, images):
                picture(ax, image, cmap="gray", vmin=0, vmax=255)
            line[0].set_ylabel(name, fontsize=6)
    return figure, (
        f"{context.title(dataset)}: samples and, beneath each, the training image nearest to it in pixels. All rows start "
        "from the same noise. A pair that agrees is a copy; samples that look alike between rows of large N have come from "
        f"networks that learned the same density. {context.scope}"
    )

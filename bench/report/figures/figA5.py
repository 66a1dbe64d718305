"""Figure A5: locality of attention along training, the PSNR beneath it."""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure

from bench.report.context import Context
from bench.report.curves import band, curve, field
from bench.report.items import Item
from bench.report.style import count, legend, new_figure

ITEM = Item(
    title="Figure A5",
    subject="Locality of attention along training",
    measures=("along",),
)

MOST = 3  # models side by side


def along_training(context: Context, metric: str) -> pd.DataFrame:
    """Return a metric's rows at the kept checkpoints with columns ``steps`` and ``layer`` (NaN where it has none)."""
    rows = context.rows(f"along_{metric}")
    return rows.assign(steps=rows["index"].astype(int), layer=field(rows, "layer").astype(float))


def draw(context: Context) -> tuple[Figure, str]:
    """Draw distance above PSNR, a column for each model, on the first dataset; colours are N."""
    rows, psnr = along_training(context, "attention_distance"), along_training(context, "psnr_mean")
    dataset = context.ordered(rows, "dataset")[0]
    rows, psnr = (t[t["dataset"] == dataset] for t in (rows, psnr))
    models, sizes = context.ordered(rows, "model")[:MOST], context.ordered(rows, "train_size")
    figure = new_figure(3.4)
    axes = figure.subplots(2, len(models), squeeze=False, sharex=True, height_ratios=[1.3, 1])
    for ax in axes[1, 1:]:
        ax.sharey(axes[1, 0])  # distances keep a scale each: windows bound them
    for (above, below), model in zip(axes.T, models):
        own, both = rows[rows["model"] == model], psnr[psnr["model"] == model]
        ends = (own["layer"].min(), own["layer"].max())
        for number, size in enumerate(sizes):
            for dash, (layer, word) in enumerate(zip(ends, ("first", "last"))):
                here = own[(own["train_size"] == size) & (own["layer"] == layer)]
                curve(above, here, "steps", f"N = {count(size)}, {word} layer", number, dash, marker=number)
            for dash, split in enumerate(("train", "test")):
                here = both[(both["train_size"] == size) & (both["split"] == split)]
                curve(
                    below, here, "steps", f"N = {count(size)}, {split} PSNR", number, 2 + dash, marker=number
                )
        above.set_title(context.label(model))
        below.set_xlabel("training steps")
    axes[0, 0].set_ylabel("attention distance\n(tokens) ←")
    axes[1, 0].set_ylabel("mean PSNR\n(dB) →")
    legend(figure)
    return figure, (
        f"{context.title(dataset)}: mean attention distance of the first and the last layer along training, and train and "
        f"test PSNR; {context.shuffles(rows)}, {band(rows)}. Each model has its own scale of distances. "
        f"If attention turns local before the train PSNR leaves the test PSNR, locality is what "
        f"the network starts from and memorising is what it ends at. {context.scope}"
    )

"""Locality of attention along training.

All models share one distance scale that starts at 0, so that only changes that matter are visible; windows bound the
distance of a local network. If attention becomes local before train PSNR departs from test PSNR, the network starts out
local and ends up memorising.
"""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure

from bench.report.context import Context
from bench.report.curves import Line, Panel, band, grid
from bench.report.items import Item
from bench.report.style import size
from bench.results.tidy import at, protocol_field

ITEM = Item("Figure A5", measures=("along",))
MOST = 3  # models side by side


def along_training(context: Context, metric: str) -> pd.DataFrame:
    """Return a metric's rows at the kept checkpoints with a column ``layer`` (NaN if it has none)."""
    rows = context.rows(f"along_{metric}")
    return rows.assign(layer=protocol_field(rows, "layer").astype(float))


def draw(context: Context) -> tuple[Figure, str]:
    """Draw distance above PSNR, a column for each model, on the first dataset; colours are N."""
    rows, psnr = (along_training(context, metric) for metric in ("attention_distance", "psnr_mean"))
    dataset = context.ordered(rows, "dataset")[0]
    rows, psnr = (at(table, dataset=dataset) for table in (rows, psnr))
    models, sizes = context.ordered(rows, "model")[:MOST], context.ordered(rows, "train_size")
    above, beneath, changes = [], [], []
    for model in models:
        own = at(rows, model=model)
        distance, quality = (
            Panel(context.label(model), "attention distance\n(tokens) ↓"),
            Panel("", "mean PSNR\n(dB) ↑"),
        )
        for number, n in enumerate(sizes):
            for dash, (layer, word) in enumerate(
                zip((own["layer"].min(), own["layer"].max()), ("first", "last"))
            ):
                here = at(own, train_size=n, layer=layer)
                distance.lines.append(Line(here, f"{size(n)}, {word} layer", number, dash, number))
            for dash, split in enumerate(("train", "test"), start=2):
                here = at(psnr, model=model, train_size=n, split=split)
                quality.lines.append(Line(here, f"{size(n)}, {split} PSNR", number, dash, number))
        above.append(distance)
        beneath.append(quality)
        ends = own.groupby("index")["value"].mean().iloc[[0, -1]]
        changes.append(f"{context.label(model)} {ends.iloc[0]:.2f} to {ends.iloc[-1]:.2f}")
    figure, axes = grid([*above, *beneath], len(models), 1.7, "training steps")
    axes[0].set_ylim(0, None)
    for ax in axes:
        ax.set_xlim(0, None)
    return figure, (
        f"{context.title(dataset)}: mean attention distance of the first and the last layer along training, and "
        f"train and test PSNR; {context.shuffles(rows)}{band(rows)}. Mean distance of both layers from the first to "
        f"the last checkpoint: {', '.join(changes)} tokens.{context.windows_of(models)}"
    )

"""Figure A5: locality of attention along training, the PSNR beneath it."""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure

from bench.report.context import Context
from bench.report.curves import band, curve
from bench.report.style import count, legend, new_figure

MOST = 3  # models side by side


def along_training(context: Context, metric: str) -> pd.DataFrame:
    """Return a metric's rows with a column ``steps``: at kept checkpoints, or of runs that differ in steps alone.

    A rate that stays constant and randomness by position make a shorter training the beginning of a longer one.
    """
    kept = context.tidy[(context.tidy["metric"] == f"along_{metric}") & (context.tidy["recipe"] == "")]
    if len(kept):
        layer = kept["protocol"].str.extract(r"layer=(\d+)$")[0].astype("Int64")
        return kept.assign(steps=kept["index"].astype(int), index=layer)
    table, rows = context.rows(metric, recipe=None), []
    for run in context.plan["runs"]:
        others = {key: value for key, value in run["training"].items() if key not in ("steps", "snapshots")}
        key = (run["dataset"], run["model"]["name"], run["train_size"], run["shuffle"])
        rows.append((*key, run["recipe"], run["training"]["steps"], str(others), run.get("half")))
    keys = ["dataset", "model", "train_size", "shuffle"]
    runs = pd.DataFrame(rows, columns=[*keys, "recipe", "steps", "others", "half"])
    found = table.merge(runs, on=[*keys, "recipe"])
    several = found.groupby([*keys, "others", "half"])["steps"].transform("nunique") > 1
    if not several.any():
        raise context.needs(
            f"{metric} at two lengths of one training or more",
            instead="set `training: {snapshots: [...]}` and `measure: {along: {psnr: {}, attention: {}}}`",
        )
    return found[several]


def draw(context: Context) -> tuple[Figure, str]:
    """Draw distance above PSNR, a column for each model, on the first dataset; colours are N."""
    rows, psnr = along_training(context, "attention_distance"), along_training(context, "psnr_mean")
    dataset = context.ordered(rows, "dataset")[0]
    rows, psnr = (t[t["dataset"] == dataset] for t in (rows, psnr))
    models, sizes = context.ordered(rows, "model")[:MOST], context.ordered(rows, "train_size")
    figure = new_figure(3.4)
    axes = figure.subplots(2, len(models), squeeze=False, sharex=True, sharey="row", height_ratios=[1.3, 1])
    for (above, below), model in zip(axes.T, models):
        own, both = rows[rows["model"] == model], psnr[psnr["model"] == model]
        ends = (own["index"].min(), own["index"].max())
        for number, size in enumerate(sizes):
            for dash, (layer, word) in enumerate(zip(ends, ("first", "last"))):
                here = own[(own["train_size"] == size) & (own["index"] == layer)]
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
        f"test PSNR; {band(rows)}. If attention turns local before the train PSNR leaves the test PSNR, locality is what "
        f"the network starts from and memorising is what it ends at. {context.scope}"
    )

"""What to expect of a preset: PSNR along its training.

If your own network lies far below its family's curve at the same fraction of its steps, suspect its learning rate or target,
not the architecture. Train and test curves that diverge show memorisation; early stopping would end where validation PSNR is
highest.
"""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullLocator

from bench.report.context import Context
from bench.report.curves import MOST, Line, Panel, band, grid
from bench.report.items import Item
from bench.report.style import size
from bench.results.tidy import at

ITEM = Item("Figure A15", measures=("along",))
SPLITS = ("train", "validation", "test")


def draw(context: Context) -> tuple[Figure, str]:
    """Draw a panel for each model, on the first dataset; colours are N, dashes the images."""
    rows = context.rows("along_psnr_mean")
    dataset = context.ordered(rows, "dataset")[0]
    rows = at(rows, dataset=dataset)
    models, sizes = context.ordered(rows, "model"), context.ordered(rows, "train_size")
    splits, panels = [split for split in SPLITS if split in set(rows["split"])], []
    for model in models:
        panel = Panel(context.label(model) + context.marks(model, dataset, sizes), "PSNR (dB) ↑")
        for number, n in enumerate(sizes):
            for dash, split in enumerate(splits):
                own = at(rows, model=model, train_size=n, split=split)
                panel.lines.append(Line(own, f"{size(n)}, {split}", number, dash, number))
        panels.append(panel)
    steps = sorted(set(rows["index"].astype(int)))
    figure, axes = grid(panels, MOST, 1.5, "training step", share="all", legend_columns=len(splits))
    for ax in axes:
        ax.set_xscale("log", base=2)
        ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
        ax.xaxis.set_minor_locator(NullLocator())
        ax.set_xlim(0.9 * steps[0], 1.1 * steps[-1])
    largest = at(rows, train_size=sizes[-1], split=splits[-1])
    ends = "; ".join(_end(context, at(largest, model=m), dataset) for m in context.ordered(largest, "model"))
    where = f"{splits[-1].capitalize()} PSNR at {size(sizes[-1])}"
    return figure, (
        f"{context.title(dataset)}: PSNR of the averaged weights along training, mean over a few noise levels and so "
        f"not comparable with other figures; {context.shuffles(rows)}{band(rows)}. {where}: {ends}."
    )


def _end(context: Context, table: pd.DataFrame, dataset: str) -> str:
    """Return what a model reaches after half of its steps and at the end, and the word of its runs."""
    model, n = table["model"].iloc[0], int(table["train_size"].iloc[0])
    curve = table.groupby(table["index"].astype(int))["value"].mean()
    half = curve.index[abs(curve.index - curve.index[-1] / 2).argmin()]
    word = context.words.get((dataset, model, n), "")
    said = f"{context.label(model)} {curve[half]:.2f} dB after {half:,} steps, {curve.iloc[-1]:.2f} dB "
    said += f"after {curve.index[-1]:,}"
    return f"{said} ({word})" if word else said

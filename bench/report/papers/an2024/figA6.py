"""Sensitivity of Fig. 4 to its colour threshold.

All cells at or above the upper end of a range are drawn in the darkest colour. The lower the end, the more cells
look alike; the numbers of Fig. A4 need no threshold.
"""

from __future__ import annotations

from matplotlib.figure import Figure

from bench.report.context import Context
from bench.report.items import Item
from bench.report.papers.an2024.fig4 import PAPER_TOKENS, colour_top, normalised
from bench.report.style import SMALL, new_figure, picture, sequential, size
from bench.results.tidy import at

ITEM = Item("Figure A6", arrays=("attention",), measures=("attention",))
TOPS = (0.05, 0.1, 0.2, 0.5, 1.0)  # the paper shows 0.1


def draw(context: Context) -> tuple[Figure, str]:
    """Draw the most local layer's map at each threshold, for the smallest and the largest N of the first model."""
    runs = context.runs("attention_distance")
    dataset, model = (context.ordered(runs, column)[0] for column in ("dataset", "model"))
    runs = at(runs, dataset=dataset, model=model).sort_values("train_size")
    runs = runs.iloc[[0, -1]] if len(runs) > 1 else runs
    figure = new_figure(1.25 * len(runs) + 0.1)
    axes = figure.subplots(len(runs), len(TOPS), squeeze=False)
    layer, shares = _most_local(context, dataset, model), []
    for line, run in zip(axes, runs.itertuples()):
        arrays = context.arrays("attention", dataset, model, int(run.train_size), int(run.shuffle))
        values = normalised(arrays["maps"][list(arrays["layers"]).index(layer)])
        for ax, top in zip(line, TOPS):
            picture(ax, values, cmap=sequential(), vmin=0, vmax=top)
            shares.append(100 * float((values >= top).mean()))
            ax.set_title(f"0 to {top:.2g}: {shares[-1]:.1f} %", fontsize=SMALL, pad=2)
            ax.set_xlabel("key", labelpad=1, fontsize=SMALL)
        line[0].set_ylabel(f"{size(int(run.train_size))}\nquery")
    return figure, (
        f"{context.title(dataset)}, {context.label(model)}: the attention map of layer {layer}, the most local one, "
        "normalised to [0, 1], in five colour ranges (white to dark), and the share of cells at or above the upper "
        f"end: {min(shares):.1f} to {max(shares):.1f} %. The paper takes 0.1, with {PAPER_TOKENS:,} tokens; Fig. 4 "
        f"takes {colour_top(len(values)):.2g} for the {len(values)} tokens here.{context.windows_of([model])}"
    )


def _most_local(context: Context, dataset: str, model: str) -> int:
    """Return the layer of the finest grid with the least mean distance at the largest N."""
    rows = context.rows("attention_distance", dataset=dataset, model=model)
    run = at(context.runs("attention_distance"), dataset=dataset, model=model).iloc[0]
    drawn = context.arrays("attention", dataset, model, int(run["train_size"]), int(run["shuffle"]))["layers"]
    rows = rows[rows["index"].isin(drawn) & (rows["train_size"] == rows["train_size"].max())]
    return int(rows.groupby("index")["value"].mean().idxmin())

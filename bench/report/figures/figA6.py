"""Figure A6: how far Fig. 4 depends on the threshold of its colours."""

from __future__ import annotations

from matplotlib.figure import Figure

from bench.report.context import Context
from bench.report.figures.fig4 import PAPER_TOKENS, colour_top, normalised
from bench.report.style import count, new_figure, picture

TOPS = (0.05, 0.1, 0.2, 0.5, 1.0)  # the paper shows 0.1


def draw(context: Context) -> tuple[Figure, str]:
    """Draw the first layer's map at each threshold, a row for the smallest and the largest N of the first model."""
    runs = context.runs("attention_distance")
    dataset, model = (context.ordered(runs, column)[0] for column in ("dataset", "model"))
    runs = runs[(runs["dataset"] == dataset) & (runs["model"] == model)].sort_values("train_size")
    runs = runs.iloc[[0, -1]] if len(runs) > 1 else runs
    figure = new_figure(1.25 * len(runs) + 0.1)
    axes = figure.subplots(len(runs), len(TOPS), squeeze=False)
    shares = []
    for line, run in zip(axes, runs.itertuples()):
        arrays = context.arrays("attention", dataset, model, int(run.train_size), int(run.shuffle))
        values = normalised(arrays["maps"][0])
        for ax, top in zip(line, TOPS):
            picture(ax, values, cmap="PuBu", vmin=0, vmax=top)
            saturated = float((values >= top).mean())
            shares.append(saturated)
            ax.set_title(f"top {top:.2g}: {100 * saturated:.1f} %", fontsize=6, pad=2)
        line[0].set_ylabel(f"N = {count(int(run.train_size))}")
    return figure, (
        f"{context.title(dataset)}, {context.label(model)}: the first layer's attention map, normalised to [0, 1], with "
        "five upper ends of the colour range and the share of cells at or above each, drawn in the darkest colour: "
        f"{100 * min(shares):.1f} to {100 * max(shares):.1f} %. The paper takes 0.1, with {PAPER_TOKENS} tokens; Fig. 4 "
        f"takes {colour_top(len(values)):.2g} for the {len(values)} tokens here. A low end makes any map look global, "
        f"a high end any map local; the numbers of Fig. A4 need no threshold. {context.scope}"
    )

"""Figure A6: how far Fig. 4 depends on the threshold of its colours."""

from __future__ import annotations

from matplotlib.figure import Figure

from bench.report.context import Context
from bench.report.figures.fig4 import PAPER_TOKENS, normalised
from bench.report.style import count, new_figure, picture

TOPS = (0.02, 0.05, 0.1, 0.2, 0.5)  # at the paper's 1024 tokens; the paper shows 0.1


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
        scale = PAPER_TOKENS / len(values)
        for ax, top in zip(line, TOPS):
            picture(ax, values, cmap="PuBu", vmin=0, vmax=min(1.0, top * scale))
            saturated = float((values >= min(1.0, top * scale)).mean())
            shares.append(saturated)
            ax.set_title(f"top {min(1.0, top * scale):.2g}: {100 * saturated:.1f} %", fontsize=6, pad=2)
        line[0].set_ylabel(f"N = {count(int(run.train_size))}")
    return figure, (
        f"{context.title(dataset)}, {context.label(model)}: the first layer's attention map, normalised to [0, 1], with "
        f"five upper ends of the colour range (the paper's choice is the third) and the share of cells at or above "
        f"each, which "
        f"are drawn in the darkest colour: {100 * min(shares):.1f} to {100 * max(shares):.1f} %. A low end makes any map "
        f"look global, a high end any map local; the numbers of Fig. A4 need no threshold. {context.scope}"
    )

"""Figure A4: locality of attention in numbers, by layer and N."""

from __future__ import annotations

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from bench.report.context import Context
from bench.report.curves import band, curve, name_columns
from bench.report.style import count, legend, new_figure

METRICS = (
    ("attention_distance", "mean distance\n(tokens) ←"),
    ("attention_mass_w3", "share inside\na 3x3 window →"),
    ("attention_entropy", "entropy of a row\n(nats) ←"),
)
MOST = 4  # models side by side


def draw(context: Context) -> tuple[Figure, str]:
    """Draw a column for each model with attention, a row for each number, on the first dataset."""
    rows = context.rows("attention_distance")
    dataset = context.ordered(rows, "dataset")[0]
    rows = rows[rows["dataset"] == dataset]
    models, sizes = context.ordered(rows, "model")[:MOST], context.ordered(rows, "train_size")
    known = [(m, name) for m, name in METRICS if (context.tidy["metric"] == m).any()]
    figure = new_figure(1.3 * len(known) + 0.35)
    axes = figure.subplots(len(known), len(models), squeeze=False, sharex="col", sharey="row")
    for line, (metric, name) in zip(axes, known):
        table = context.rows(metric, dataset=dataset)
        for ax, model in zip(line, models):
            for number, size in enumerate(sizes):
                here = table[(table["model"] == model) & (table["train_size"] == size)]
                curve(ax, here, "index", f"N = {count(size)}", number, number, marker=number)
            ax.xaxis.set_major_locator(MaxNLocator(5, integer=True, min_n_ticks=1))
            ax.margins(x=0.1)
        line[0].set_ylabel(name)
    name_columns(context, axes, models, "layer")
    legend(figure)
    return figure, (
        f"{context.title(dataset)}: how far a token looks, by layer: the mean distance of what it attends to, the share of "
        f"attention inside a 3x3 window around it, the entropy. Maps are averaged over heads, images and noise levels; "
        f"{context.shuffles(rows)}, {band(rows)}. Curves that move towards local (arrows) as N grows are what Fig. 4 shows "
        f"as a diagonal. {context.scope}"
    )

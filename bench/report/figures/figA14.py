"""Figure A14: shape of the leading eigenvectors in numbers: extent, frequency, memorised share."""

from __future__ import annotations

from matplotlib.figure import Figure

from bench.report.context import Context
from bench.report.curves import OPERATORS, band, curve, jacobian, level, name_columns
from bench.report.style import count, legend, new_figure

METRICS = (
    ("jacobian_participation", "share of pixels that\nvector k lives on"),
    ("jacobian_frequency", "mean frequency\n(cycles / image)"),
    ("jacobian_train_share", "share in the span of\nthe training images"),
)
MOST = 4  # models side by side


def draw(context: Context) -> tuple[Figure, str]:
    """Draw a column for each model, a row for each number; colours are N, on the first dataset."""
    known = [(m, n) for m, n in METRICS if (context.tidy["metric"] == m).any()] or METRICS[:1]
    tables = [(jacobian(context, metric), name) for metric, name in known]
    rows = tables[0][0]
    dataset = context.ordered(rows, "dataset")[0]
    models, sizes = (
        context.ordered(rows[rows["dataset"] == dataset], "model")[:MOST],
        context.ordered(rows, "train_size"),
    )
    figure = new_figure(1.35 * len(tables) + 0.35)
    axes = figure.subplots(len(tables), len(models), squeeze=False, sharex=True, sharey="row")
    for line, (table, name) in zip(axes, tables):
        for ax, model in zip(line, models):
            own = table[(table["dataset"] == dataset) & (table["model"] == model)]
            for number, size in enumerate(sizes):
                curve(ax, own[own["train_size"] == size], "index", f"N = {count(size)}", number, number)
        line[0].set_ylabel(name)
        line[0].set_ylim(0, None)
    name_columns(context, axes, models, "k")
    legend(figure)
    return figure, (
        f"{context.title(dataset)}: the leading eigenvectors of the Jacobian of the "
        f"{OPERATORS[rows['operator'].iloc[0]]} at {level(rows)}, in numbers: how much of the image each covers, how "
        f"fast it oscillates, and how much of it lies in "
        f"the span of the N training images. Harmonic and adapted: wide, faster with k, outside the span. Memorised: "
        f"inside it. {context.shuffles(rows)}, {band(rows)}. {context.scope}"
    )

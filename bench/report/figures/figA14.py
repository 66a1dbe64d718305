"""Figure A14: shape of the leading eigenvectors in numbers: extent, frequency, memorised share."""

from __future__ import annotations

from matplotlib.figure import Figure

from bench.report.context import Context
from bench.report.curves import OPERATORS, band, curve, jacobian, level, name_columns, size_of
from bench.report.items import Item
from bench.report.style import PALETTE, count, legend, new_figure

ITEM = Item(
    title="Figure A14",
    subject="Shape of the leading eigenvectors in numbers",
    measures=("jacobian",),
)

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
                here = own[own["train_size"] == size]
                curve(ax, here, "index", f"N = {count(size)}", number, number)
                if table is tables[-1][0] and len(tables) == len(METRICS) and len(here):
                    chance = (size - 1) / size_of(context, dataset)
                    ax.axhline(chance, color=PALETTE[number % len(PALETTE)], linestyle=":", linewidth=0.8)
        line[0].set_ylabel(name)
        line[0].set_ylim(0, None)
    name_columns(context, axes, models, "k")
    legend(figure)
    return figure, (
        f"{context.title(dataset)}: the leading eigenvectors of the Jacobian of the "
        f"{OPERATORS[rows['operator'].iloc[0]]} at {level(rows)}, in numbers: how much of the image each covers (the "
        f"participation ratio of its pixels; white noise has 1/3), how fast it oscillates (the mean frequency of its "
        f"power), and how much of it lies in the span of the differences of the N training images (dotted: a random "
        f"vector; no curve where they span everything). Harmonic and adapted: wide, faster with k, outside the span. "
        f"Memorised: "
        f"inside it. {context.shuffles(rows)}, {band(rows)}. {context.scope}"
    )

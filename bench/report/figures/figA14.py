"""Shape of the leading eigenvectors in numbers.

How much of the image an eigenvector covers (the participation ratio of its pixels; white noise has 1/3), how fast it
oscillates (the mean frequency of its power), and how much of it lies in the span of the differences between the
N training images (no curve where they span everything). Harmonic and adapted: wide, faster with k, outside the span.
Memorised: inside it.
"""

from __future__ import annotations

from matplotlib.figure import Figure

from bench.report.context import Context
from bench.report.curves import MOST, OPERATORS, Line, Panel, band, grid, jacobian, level, size_of
from bench.report.items import Item
from bench.report.style import size
from bench.results.tidy import at

ITEM = Item("Figure A14", measures=("jacobian",))
METRICS = (
    ("jacobian_participation", "share of pixels that\nvector k covers"),
    ("jacobian_frequency", "mean frequency\n(cycles / image)"),
    ("jacobian_train_share", "share in the span of\nthe training images"),
)


def draw(context: Context) -> tuple[Figure, str]:
    """Draw a column for each model, a row for each number; colours are N, on the first dataset."""
    known = [(metric, name) for metric, name in METRICS if context.has(metric)] or METRICS[:1]
    tables = {metric: jacobian(context, metric) for metric, _ in known}
    rows = tables[known[0][0]]
    dataset, sizes = context.ordered(rows, "dataset")[0], context.ordered(rows, "train_size")
    models = context.ordered(at(rows, dataset=dataset), "model")[:MOST]
    panels: list[Panel] = []
    for metric, name in known:
        for model in models:
            panel = Panel("" if panels[len(models) - 1 :] else context.label(model), name)
            for number, n in enumerate(sizes):
                own = at(tables[metric], dataset=dataset, model=model, train_size=n)
                panel.lines.append(Line(own, size(n), number, number))
                if metric == METRICS[-1][0] and len(own):
                    chance = (n - 1) / size_of(context, dataset)
                    panel.levels.append((chance, f"random vector, {size(n)}", number))
            panels.append(panel)
    figure, axes = grid(panels, len(models), 1.35, "k")
    for ax in axes[:: len(models)]:
        ax.set_ylim(0, None)
    share = (
        at(tables.get(METRICS[-1][0], rows.iloc[:0]), dataset=dataset, index=0)
        .groupby("model")["value"]
        .mean()
    )
    words = ", ".join(f"{context.label(m)} {share[m]:.2f}" for m in models if m in share.index)
    return figure, (
        f"{context.title(dataset)}: the leading eigenvectors of the Jacobian of the "
        f"{OPERATORS[rows['operator'].iloc[0]]} at {level(rows)}, in numbers; {context.shuffles(rows)}{band(rows)}."
        + (f" Share of vector 0 inside the span of the training images: {words}." if words else "")
    )

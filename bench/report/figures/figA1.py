"""Figure A1: spectrum of the Jacobian with and without local attention."""

from __future__ import annotations

from matplotlib.figure import Figure

from bench.report.context import Context
from bench.report.curves import OPERATORS, band, curve, jacobian, level
from bench.report.items import Item
from bench.report.style import count, legend, panels

ITEM = Item(
    title="Figure A1",
    subject="Jacobian spectra with and without local attention",
    measures=("jacobian",),
)


def draw(context: Context) -> tuple[Figure, str]:
    """Draw a panel for each dataset and pair of models; colours are N, the local model is dashed."""
    rows = jacobian(context)
    shown = [
        (d, p)
        for p in context.pairs(rows, local=True)
        for d in context.ordered(context.paired(rows, p), "dataset")
    ]
    figure, axes = panels(len(shown), 3, 1.7)
    sizes = context.ordered(rows, "train_size")
    for ax, (dataset, pair) in zip(axes, shown):
        for number, size in enumerate(sizes):
            here = rows[(rows["dataset"] == dataset) & (rows["train_size"] == size)]
            for dash, model in enumerate(pair):
                word = (context.plan["models"][model]["variant"] or "local") if dash else "baseline"
                curve(ax, here[here["model"] == model], "index", f"N = {count(size)}, {word}", number, dash)
        ax.set_title(f"{context.title(dataset)}, {context.label(pair[0])}")
        ax.set_xlabel("k")
        ax.set_ylabel(r"eigenvalue $\lambda_k$")
    legend(figure)
    name, values = OPERATORS[rows["operator"].iloc[0]], int(rows["index"].max()) + 1
    drawn = rows[rows["model"].isin({m for _, pair in shown for m in pair})]
    return figure, (
        f"The {values} largest eigenvalues of the symmetric part of the Jacobian of the {name} at {level(rows)} and one "
        f"test image, with and without local attention; {context.shuffles(drawn)}, {band(drawn)}. A spectrum that "
        f"stays where it was means "
        f"that windows change the gap without changing how many directions the network keeps. {context.scope}"
    )

"""Figure A1: spectrum of the Jacobian with and without local attention."""

from __future__ import annotations

from matplotlib.figure import Figure

from bench.report.context import Context
from bench.report.curves import OPERATORS, band, curve, jacobian, level
from bench.report.style import count, legend, panels


def draw(context: Context) -> tuple[Figure, str]:
    """Draw a panel for each dataset and pair of models; colours are N, the local model is dashed."""
    rows = jacobian(context)
    rows = rows.assign(rank=rows["index"] + 1)
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
                curve(ax, here[here["model"] == model], "rank", f"N = {count(size)}, {word}", number, dash)
        ax.set_title(f"{context.title(dataset)}, {context.label(pair[0])}")
        ax.set_xscale("log")
        ax.set_xlabel("k + 1")
        ax.set_ylabel(r"eigenvalue $\lambda_k$")
    legend(figure)
    name = OPERATORS[rows["operator"].iloc[0]]
    return figure, (
        f"Eigenvalues of the symmetric part of the Jacobian of the {name} at {level(rows)}, with and without local "
        f"attention on the same images; {context.shuffles(rows)}, {band(rows)}. A spectrum that stays where it was means "
        f"that windows change the gap without changing how many directions the network keeps. {context.scope}"
    )

"""Figure A12: training curves."""

from __future__ import annotations

from matplotlib.figure import Figure

from bench.report.context import Context
from bench.report.curves import band, curve
from bench.report.style import count, legend, panels


def draw(context: Context) -> tuple[Figure, str]:
    """Draw a panel for each dataset and N; a line for each model."""
    rows = context.rows("training_loss")
    shown = [
        (d, n)
        for d in context.ordered(rows, "dataset")
        for n in context.ordered(rows[rows["dataset"] == d], "train_size")
    ]
    models = context.ordered(rows, "model")
    figure, axes = panels(len(shown), 3, 1.7)
    for ax, (dataset, size) in zip(axes, shown):
        here = rows[(rows["dataset"] == dataset) & (rows["train_size"] == size)]
        for number, model in enumerate(models):
            own = here[here["model"] == model]
            curve(ax, own, "index", context.label(model), number, number // 6 + number % 3)
        ax.set_yscale("log")
        ax.set_title(f"{context.title(dataset)}, N = {count(size)}")
        ax.set_xlabel("training step")
    for ax in axes[::3]:
        ax.set_ylabel("training loss ←")
    legend(figure)
    return figure, (
        f"Mean training loss over the history intervals; {context.shuffles(rows)}, {band(rows)}. At small N the loss keeps "
        "falling below what an image never seen would cost: memorising. A curve that still falls steeply at its end "
        f"belongs to a network that a longer training would change. {context.scope}"
    )

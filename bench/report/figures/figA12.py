"""Figure A12: training curves."""

from __future__ import annotations

from matplotlib.figure import Figure

from bench.report.context import Context
from bench.report.curves import looks
from bench.report.items import Item
from bench.report.style import count, label_rows, legend, panels

ITEM = Item(
    title="Figure A12",
    subject="Training curves",
    measures=("training",),
)


def draw(context: Context) -> tuple[Figure, str]:
    """Draw a panel for each dataset and N; a line for each model."""
    rows = context.rows("training_loss")
    shown = [
        (d, n)
        for d in context.ordered(rows, "dataset")
        for n in context.ordered(rows[rows["dataset"] == d], "train_size")
    ]
    models, look = context.ordered(rows, "model"), looks(context)
    figure, axes = panels(len(shown), 3, 1.7)
    for ax, (dataset, size) in zip(axes, shown):
        here = rows[(rows["dataset"] == dataset) & (rows["train_size"] == size)]
        for model in models:
            mean = here[here["model"] == model].groupby("index")["value"].mean()
            ax.plot(
                mean.index, mean, color=look[model]["line"], markerfacecolor=look[model]["color"], markevery=0.2,
                markeredgecolor=look[model]["line"], marker=look[model]["marker"], label=context.label(model),
            )  # fmt: skip
        ax.set_yscale("log")
        ax.sharey(axes[0])
        ax.set_title(f"{context.title(dataset)}, N = {count(size)}")
        ax.set_xlabel("training step")
    label_rows(axes, "training loss ←")
    legend(figure)
    return figure, (
        f"Mean training loss over the history intervals; {context.shuffles(rows)}, their mean. A lower loss at "
        "small N than at large N is memorising. A curve that still falls steeply at its end "
        f"belongs to a network that a longer training would change. {context.scope}"
    )

"""Training curves.

A lower loss at small N than at large N indicates memorisation. If a curve still falls steeply at its end, longer
training would change the network.
"""

from __future__ import annotations

from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from bench.report.context import Context
from bench.report.curves import Line, Panel, grid, places
from bench.report.items import Item
from bench.report.style import size
from bench.results.tidy import at

ITEM = Item("Figure A12", measures=("training",))


def draw(context: Context) -> tuple[Figure, str]:
    """Draw a panel for each dataset and N; a line for each model."""
    rows = context.rows("training_loss")
    models, panels = context.ordered(rows, "model"), []
    ends: dict[tuple, float] = {}
    for dataset, n, here in context.groups(rows, "dataset", "train_size"):
        panel = Panel(f"{context.title(dataset)}, {size(n)}", "training loss ↓")
        for model, number in places(context, models).items():
            own = at(here, model=model).groupby("index", as_index=False)["value"].mean().assign(shuffle=0)
            panel.lines.append(Line(own, context.label(model), number, number // 4, number))
            ends |= {(dataset, n, model): own["value"].iloc[-1]} if len(own) else {}
        panels.append(panel)
    figure, axes = grid(panels, 3, 1.7, "training step", share="all", every=5)
    axes[0].set_yscale("log")
    for ax in axes:
        ax.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        ax.yaxis.set_minor_formatter(NullFormatter())
    dataset, n, model = min(ends, key=lambda run: ends[run])
    return figure, (
        f"Mean training loss over the history intervals; {context.shuffles(rows)}, their mean. Lowest final loss: "
        f"{context.label(model)} on {context.title(dataset)}, {size(n)}, {ends[dataset, n, model]:.3g}."
    )

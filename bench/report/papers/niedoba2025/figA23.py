"""What an output pixel depends on, and whether that follows the data.

Grey is the optimal denoiser, whose map is known on the Gaussian field and where a pattern is planted into the pixels'
covariance. (c) is the causal test: the share of the sensitivity of the pattern's pixels that lies on its far part; a
network that is local by its architecture stays below the grey line, one that follows the data reaches it. Compare (d),
which cannot tell the two apart.
"""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from bench.report.context import Context
from bench.report.curves import STEP_AXIS, Line, band, draw_line, places
from bench.report.items import Item
from bench.report.style import GREY, legend, letter, new_figure, size
from bench.results.tidy import at

ITEM = Item(
    "Figure A23",
    measures=("sensitivity",),
    counterpart="gradient heat maps of DDPM++ on CIFAR-10 and the side of the square that holds half of them",
)
OPTIMUM = {
    "sensitivity_side_50": "sensitivity_optimum_side_50",
    "sensitivity_pattern": "sensitivity_optimum_pattern",
}


def draw(context: Context) -> tuple[Figure, str]:
    """Draw the side of the square by noise level on two datasets, the far part of a pattern, and attention distance."""
    side = context.rows("sensitivity_side_50")
    planted = at(context.tidy, metric="sensitivity_pattern")
    datasets = sorted(context.ordered(side, "dataset"), key=lambda name: name not in set(planted["dataset"]))[
        :2
    ]
    figure = new_figure(3.6)
    axes = figure.subplots(2, 2).ravel().tolist()
    for place, dataset in enumerate(datasets):
        _by_step(axes[place], context, at(side, dataset=dataset), "side holding 50 % (pixels)")
        axes[place].set_title(letter(place, context.title(dataset)))
    known = [*axes[: len(datasets)]]
    if len(planted):
        _by_step(axes[2], context, planted, "share on the far pattern")
        axes[2].set_title(letter(2, context.title(planted["dataset"].iloc[0])))
        known.append(axes[2])
    distance = at(context.tidy, metric="attention_distance", dataset=datasets[0], recipe="")
    if len(distance):
        own_places = places(context, context.networks(side))
        for number, (model, own) in enumerate(context.groups(distance, "model")):
            place = own_places.get(model, number)
            draw_line(axes[3], Line(own, context.label(model), place, place, place))
        axes[3].xaxis.set_major_locator(MaxNLocator(integer=True))
        axes[3].set(
            xlabel="layer", ylabel="attention distance (tokens)", title=letter(3, context.title(datasets[0]))
        )
        known.append(axes[3])
    for ax in axes:
        if ax not in known:
            ax.remove()
    legend(figure)
    trained = " and ".join(map(size, context.ordered(side, "train_size")))
    return figure, (
        f"What a pixel of the x0 estimate depends on: {_panels(len(datasets), bool(len(planted)), bool(len(distance)))}; "
        f"{trained}, {context.shuffles(side)}{band(side)}. {_finding(context)}"
    )


def _panels(datasets: int, pattern: bool, attention: bool) -> str:
    """Return what the panels show."""
    parts = [f"the side of the square that holds half of its sensitivity ({'a, b' if datasets > 1 else 'a'})"]
    parts += ["the share of that sensitivity on the far part of the planted pattern (c)"] if pattern else []
    parts += ["the mean attention distance of each layer with attention (d)"] if attention else []
    return ", ".join(parts)


def _by_step(ax: Axes, context: Context, rows: pd.DataFrame, name: str) -> None:
    """Draw a metric by noise level, a colour for each network, and the optimum in grey where it is known."""
    own_places = places(context, context.networks(context.rows("sensitivity_side_50")))
    metric, dataset = rows["metric"].iloc[0], rows["dataset"].iloc[0]
    draw_line(ax, Line(at(context.tidy, metric=OPTIMUM[metric], dataset=dataset), "optimum", GREY, 1))
    for model, own in context.groups(rows, "model"):
        place = own_places[model]
        draw_line(ax, Line(own, context.label(model), place, place, place))
    ax.set(xlabel=STEP_AXIS, ylabel=name)


def _finding(context: Context) -> str:
    """Return, where a pattern was planted, the cosine of each network's maps with both optima."""
    metrics = ("sensitivity_planted_cosine", "sensitivity_stationary_cosine")
    own, blind = (at(context.tidy, metric=metric, recipe="") for metric in metrics)
    if not len(own):
        return ""
    values = [table.groupby("model")["value"].mean() for table in (own, blind)]
    words = (
        f"{context.label(m)} {values[0][m]:.2f} and {values[1][m]:.2f}" for m in context.ordered(own, "model")
    )
    return (
        "At pixels of the pattern, cosine of the sensitivity maps with those of the optimum, and with those of the optimum "
        f"without the pattern: {', '.join(words)}."
    )

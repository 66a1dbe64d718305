"""Two clocks: when samples are best, when copies begin.

Above, one network: copies against training steps, against steps per training image, where the curves should
collapse, and the distance of samples from the data (for vectors, the divergence from the exact diffusion, in nats).
Below, both clocks against N: whiskers are 95 % intervals that cover samples, the spacing of checkpoints and all shuffles;
an arrow is a bound, where the training ended before the clock.  A window between the clocks that widens with N is what
lets a network that could memorise generalize.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter, NullLocator, StrMethodFormatter

from bench.report.context import Context
from bench.report.curves import Line, draw_line, looks
from bench.report.items import Item
from bench.report.papers.bonnaire2025.clock import NAMES, Reading, readings
from bench.report.style import legend, letter, new_figure, size
from bench.results.tidy import at, protocol_field

ITEM = Item(
    "Figure A21",
    measures=("clocks",),
    counterpart="FID and copies along training for several n and widths, and both on a Gaussian mixture",
)
MOST = 3  # datasets


def draw(context: Context) -> tuple[Figure, str]:
    """Draw the curves of the first network on the first dataset, and the clocks of all."""
    copies, distance = context.rows("clocks_copies"), context.rows("clocks_distance")
    datasets = context.ordered(copies, "dataset")[:MOST]
    model = context.ordered(at(copies, dataset=datasets[0]), "model")[0]
    figure = new_figure(4.0)
    grid = figure.add_gridspec(2, 1)
    above = grid[0].subgridspec(1, 3).subplots()
    below = np.atleast_1d(grid[1].subgridspec(1, len(datasets)).subplots())
    _curves(above, context, *(at(table, dataset=datasets[0], model=model) for table in (copies, distance)))
    shades = looks(context, context.ordered(copies[copies["dataset"].isin(datasets)], "model"))
    for place, (ax, dataset) in enumerate(zip(below, datasets)):
        _clocks(ax, context, dataset, shades)
        ax.set_title(letter(3 + place, context.title(dataset)))
    below[0].set_ylabel("training steps")
    above[0].legend(loc="upper left", borderpad=0.3)
    legend(figure, axes=below)
    begun = context.tidy[context.tidy["metric"].str.startswith("memorization_step")]
    onset = float(protocol_field(begun, "onset").iloc[0])
    return figure, (
        f"{context.label(model)} on {context.title(datasets[0])}: share of copies by step (a) and by steps per "
        "training image (b), distance of samples from the data (c), a colour for each N; "
        f"{context.shuffles(copies)}. Below, a colour for each network: the step at which samples are best (hollow) and at "
        f"which copies begin (filled: {100 * onset:g} percentage points more than among test images) with 95 % intervals; "
        f"an arrow marks a lower bound. {_finding(context, datasets[0], model)}"
    )


def _curves(axes: list[Axes], context: Context, copies: pd.DataFrame, distance: pd.DataFrame) -> None:
    """Draw copies by step and by step per image, and the distance by step; colours are N."""
    per_image = copies.assign(index=copies["index"].astype(float) / copies["train_size"])
    shown = (
        (copies, "share of copies", "training steps"),
        (per_image, "share of copies", "steps per training image"),
        (distance, "distance from the data ↓", "training steps"),
    )
    for place, (ax, (table, name, x)) in enumerate(zip(axes, shown)):
        for number, n in enumerate(context.ordered(table, "train_size")):
            draw_line(ax, Line(at(table, train_size=n), size(n), number, number, number))
        ax.set(xscale="log", xlabel=x, ylabel=name)
        ax.set_title(letter(place))
        _plain(ax.xaxis, (1.0,))
    axes[2].set_yscale("log")
    _plain(axes[2].yaxis)


def _plain(axis: Axis, marks: tuple[float, ...] = (1.0, 2.0, 5.0)) -> None:
    """Mark a logarithmic axis at these multiples of powers of ten, as plain numbers."""
    axis.set_major_locator(LogLocator(subs=marks))
    axis.set_major_formatter(StrMethodFormatter("{x:,g}"))
    axis.set_minor_formatter(NullFormatter())


def _clocks(ax: Axes, context: Context, dataset: str, shades: dict[str, dict]) -> None:
    """Draw both clocks against N, a colour for each network."""
    for name in NAMES:
        found = {cell: one for cell, one in readings(context, name).items() if cell[0] == dataset}
        models = context.ordered(pd.DataFrame(list(found), columns=["dataset", "model", "n"]), "model")
        for place, model in enumerate(models):
            own = {cell[2]: one for cell, one in sorted(found.items()) if cell[1] == model}
            _series(ax, own, place, len(models), name, shades[model], context.label(model))
    sizes = sorted({cell[2] for name in NAMES for cell in readings(context, name) if cell[0] == dataset})
    ax.set(xscale="log", yscale="log", xlabel="N", xticks=sizes, xticklabels=[f"{n:,}" for n in sizes])
    ax.set_xlim(sizes[0] / 1.3, sizes[-1] * 1.3)
    ax.xaxis.set_minor_locator(NullLocator())
    _plain(ax.yaxis)


def _series(
    ax: Axes, own: dict[int, Reading], place: int, count: int, name: str, look: dict, label: str
) -> None:
    hollow, shade = name == "generalization", look["line"]
    face = "white" if hollow else shade
    mark = {"marker": look["marker"], "markersize": 4, "markerfacecolor": face, "markeredgecolor": shade}
    known = {n: one for n, one in own.items() if one.step is not None}
    x = np.array([*known], dtype=float) * 1.06 ** (place - (count - 1) / 2)
    ax.plot(x, [one.step for one in known.values()], color=shade, linestyle=":" if hollow else "-", **mark,
            label=None if hollow else label)  # fmt: skip
    for at_x, one in zip(x, known.values()):
        ax.plot([at_x, at_x], [max(one.low, 1), one.high], color=shade, linewidth=0.7)
    bounds = {n: max(one.low, 1) for n, one in own.items() if one.step is None}
    x = np.array([*bounds], dtype=float) * 1.06 ** (place - (count - 1) / 2)
    if len(bounds):
        low = np.array([*bounds.values()])
        _, arrows, _ = ax.errorbar(
            x, low, low / 2, lolims=True, fmt="none", ecolor=shade, elinewidth=0.9, capsize=2
        )
        for arrow in arrows:
            arrow.set_markerfacecolor(face)


def _finding(context: Context, dataset: str, model: str) -> str:
    """Return both clocks of the first network at its least and largest N."""
    texts = []
    for name, words in NAMES.items():
        own = {cell[2]: one for cell, one in readings(context, name).items() if cell[:2] == (dataset, model)}
        texts.append(f"{words} at step " + ", ".join(f"{own[n].text()} at {size(n)}" for n in sorted(own)))
    return f"{context.label(model)}: {'; '.join(texts)}."

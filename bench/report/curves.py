"""Grids of panels with curves, and what figures of Jacobians share."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from bench.report.context import Context
from bench.report.style import DASHES, GREY, MARKERS, PALETTE, legend
from bench.report.style import panels as arranged
from bench.results.tidy import at, protocol_field

MOST = 4  # models side by side
SHOWN_STEP = 7  # of 50, a noise of half the scale of the image
OPERATORS = {
    "eps": "noise prediction",
    "x0": "x0 estimate",
    "denoiser": "denoiser (x0 estimate with respect to image plus noise)",
}
LOOKS = {"x0": 0, "eps": 1, "denoiser": 2}  # colour and dash of an operator
STEP_AXIS = "step index (0: least noise)"


@dataclass
class Line:
    """A curve: ``table`` has a column ``value`` and shuffles; ``colour``, ``dash`` and ``marker`` count through the style's
    lists, and a colour can be given by name."""

    table: pd.DataFrame
    label: str
    colour: int | str = 0
    dash: int = 0
    marker: int | None = None


@dataclass
class Panel:
    """One axes of a grid: curves, and ``levels``, horizontal dotted lines (height, label, colour)."""

    title: str = ""
    y: str = ""
    lines: list[Line] = field(default_factory=list)
    levels: list[tuple[float, str, int | str]] = field(default_factory=list)


def colour(value: int | str) -> str:
    """Return a colour of the palette by its place, or a named one as it is."""
    return PALETTE[value % len(PALETTE)] if isinstance(value, int) else value


def draw_line(ax: Axes, line: Line, x: str = "index", every: int | None = None) -> None:
    """Draw the mean of ``value`` against column ``x``, images first, then shuffles, with a band of one deviation."""
    if not len(line.table):
        return
    values = line.table.groupby([x, "shuffle"])["value"].mean().groupby(x)
    mean, spread, shade = values.mean(), values.std(), colour(line.colour)
    places = mean.index.astype(float)
    mark = None if line.marker is None else MARKERS[line.marker % len(MARKERS)]
    look = {"color": shade, "linestyle": DASHES[line.dash % len(DASHES)], "label": line.label}
    ax.plot(places, mean, marker=mark, markevery=every, markeredgewidth=0, **look)
    if spread.notna().any():
        spread = spread.fillna(0)  # no width where there is one shuffle
        ax.fill_between(places, mean - spread, mean + spread, color=shade, alpha=0.25, lw=0)


def grid(
    panels: Sequence[Panel],
    columns: int,
    height: float,
    x_label: str,
    x: str = "index",
    share: str | bool = "row",
    legend_columns: int = 4,
    every: int | None = None,
) -> tuple[Figure, list[Axes]]:
    """Return a figure with panels in reading order, ``height`` inches a row, and one legend below.

    They are arranged as :func:`bench.report.style.panels` says.  ``share`` is what panels share their y axis with: ``row``,
    ``all`` or False.  A y label is beside the first panel of a row, the x label below the last one of a column.
    """
    figure, axes = arranged(len(panels), columns, height, sharey=share)
    columns = axes[0].get_gridspec().ncols
    for place, (ax, panel) in enumerate(zip(axes, panels)):
        for line in panel.lines:
            draw_line(ax, line, x, every)
        for level, label, shade in panel.levels:
            ax.axhline(level, color=colour(shade), linestyle=":", linewidth=0.9, label=label)
        ax.set_title(panel.title)
        ax.xaxis.set_major_locator(MaxNLocator(5, integer=True, min_n_ticks=1))
        if place % columns == 0:
            ax.set_ylabel(panel.y)
        if place + columns >= len(panels):
            ax.set_xlabel(x_label)
    legend(figure, legend_columns)
    return figure, axes


def band(table: pd.DataFrame, what: str = "bands") -> str:
    """Return what a band means, in words; empty if there is none."""
    return f", {what} are one standard deviation over shuffles" if table["shuffle"].nunique() > 1 else ""


def controls(context: Context, metric: str, **where: object) -> list[Line]:
    """Return grey curves of the linear filter and the identity, as far as they were measured at ``where``."""
    found: list[Line] = []
    for family in ("wiener-pool", "wiener", "identity"):
        rows = context.control(metric, family, **where)
        if len(rows) and not (family == "wiener" and found):
            largest = at(rows, train_size=rows["train_size"].max())
            name = context.label(largest["model"].iloc[0])
            found.append(Line(largest, name, GREY, 2 if family == "identity" else 1))
    return found


def places(context: Context, models: Sequence[str]) -> dict[str, int]:
    """Return the place of each network in the style's lists: in the whole suite's order, the same in all its figures.

    Where two of ``models`` would look alike, in the order of ``models``.
    """
    every = [model for model in context.plan["models"] if not context.is_control(model)]
    own = [model for model in models if model in every]
    found = {model: every.index(model) for model in own}
    alike = len({place % len(PALETTE) for place in found.values()}) < len(own)
    return {model: place for place, model in enumerate(own)} if alike else found


def looks(context: Context, models: Sequence[str]) -> dict[str, dict]:
    """Return colour and marker of each model: hues by its place, grey for controls; variants are hollow."""
    own, found = places(context, models), {}
    for model in models:
        place = own.get(model, [*models].index(model))
        shade = GREY if context.is_control(model) else colour(place)
        face = "white" if context.plan["models"][model]["baseline"] else shade
        mark = MARKERS[place % len(MARKERS)]
        found[model] = {"color": face, "markeredgecolor": shade, "marker": mark, "line": shade}
    return found


def jacobian(context: Context, metric: str = "jacobian_eigenvalue", every: bool = False) -> pd.DataFrame:
    """Return the rows of a Jacobian metric with columns operator, step and sigma.

    Without ``every`` of one operator, the item's where it was measured, and of the noise level that is shown.
    """
    table = context.rows(metric)
    fields = {key: protocol_field(table, key) for key in ("operator", "step", "sigma")}
    table = table.assign(**fields).astype({"step": int, "sigma": float})
    return table if every else at_shown_step(of_operator(context, table))


def of_operator(context: Context, table: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of the item's operator, or of another where it was not measured."""
    known, wanted = set(table["operator"]), context.options["operator"]
    return at(table, operator=wanted if wanted in known else min(known))


def at_shown_step(table: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of the noise level nearest to the one that is shown."""
    return at(table, step=shown_step(table["step"]))


def shown_step(steps: Iterable[int], wanted: int = SHOWN_STEP) -> int:
    """Return the noise level that is shown: of those measured, the nearest to ``wanted``, least noise first."""
    return min(sorted(set(steps)), key=lambda step: abs(step - wanted))


def size_of(context: Context, dataset: str) -> int:
    """Return how many values an image of a dataset has."""
    info = context.plan["datasets"][dataset]
    return info["resolution"] ** 2 * info["channels"]


def level(table: pd.DataFrame) -> str:
    """Return the noise level of rows of one step, in words."""
    sigma = table["sigma"].iloc[0]
    return f"step {table['step'].iloc[0]}" + (
        "" if pd.isna(sigma) else f" (noise {sigma:.2g} of the image's scale)"
    )


def noise(context: Context, step: int) -> str:
    """Return a step's noise level in words; its sigma is taken from the suite's Jacobians, where it has any."""
    table = at(context.table, metric="jacobian_eigenvalue")
    same = table[protocol_field(table, "step") == str(step)]
    sigma = protocol_field(same, "sigma").astype(float)
    return level(same.assign(step=step, sigma=sigma)) if len(same) else f"step {step}"


def positions(count: int, place: int, width: float = 0.15) -> np.ndarray | float:
    """Return the offset of the ``place``-th of ``count`` marks that are side by side."""
    return width * (place - (count - 1) / 2)

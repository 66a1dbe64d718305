"""Figure A13: what a network costs against how well it denoises images it never saw."""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bench.report.context import Context
from bench.report.curves import DASHES, looks
from bench.report.items import Item
from bench.report.quality import CONTROLS
from bench.report.style import count, legend, new_figure

ITEM = Item(
    title="Figure A13",
    subject="Cost against quality",
    measures=("psnr", "cost"),
)

COSTS = (("parameters", "parameters (M)", 1e6), ("macs", "multiply-adds of a pass (M)", 1e6))


def draw(context: Context) -> tuple[Figure, str]:
    """Draw test PSNR at the largest N above the gap at the smallest, against both costs; colours are families."""
    tests, gaps = context.rows("psnr_mean", split="test"), context.rows("psnr_gap_mean")
    dataset = context.ordered(tests, "dataset")[0]
    tests, gaps = (t[t["dataset"] == dataset] for t in (tests, gaps))
    largest, smallest = int(tests["train_size"].max()), int(gaps["train_size"].min())
    values = (
        (tests[tests["train_size"] == largest], f"test PSNR (dB) →\nN = {count(largest)}"),
        (gaps[gaps["train_size"] == smallest], f"PSNR gap (dB) ←\nN = {count(smallest)}"),
    )
    models = context.ordered(tests, "model")
    networks = [m for m in models if context.plan["models"][m]["family"] not in CONTROLS]
    figure = new_figure(3.6)
    axes = figure.subplots(2, 2, squeeze=False, sharex="col", sharey="row")
    for column, (metric, name, unit) in enumerate(COSTS):
        costs = context.rows(metric, dataset=dataset)
        for ax, (table, _) in zip(axes[:, column], values):
            here = costs[costs["train_size"] == table["train_size"].iloc[0]]
            _scatter(ax, context, here.groupby("model")["value"].mean() / unit, table, networks)
            _lines(ax, context, table, models)
        axes[1, column].set_xlabel(name)
    for ax, (_, name) in zip(axes[:, 0], values):
        ax.set_ylabel(name)
    legend(figure, 3)
    return figure, (
        f"{context.title(dataset)}: cost of a network against what it gives: test PSNR at the largest N, PSNR gap at the "
        f"smallest. A hollow marker is a variant of another model; grey lines are closed-form controls, those within "
        f"the range of the networks. The gap, clipped at 0 per step, is only good where test PSNR is high: "
        f"an undertrained network has none. {context.shuffles(tests)}. {context.scope}"
    )


def _scatter(ax: Axes, context: Context, costs: pd.Series, table: pd.DataFrame, networks: list[str]) -> None:
    every = looks(context)
    for model in networks:
        own = table[table["model"] == model]["value"]
        if model not in costs or not len(own):
            continue
        look = every[model]
        spread = own.std() if len(own) > 1 else None
        ax.errorbar(
            costs[model], own.mean(), spread, marker=look["marker"], markersize=4.5, linestyle="none", ecolor=look["line"],
            color=look["color"], markeredgecolor=look["line"], elinewidth=0.7, label=context.label(model),
        )  # fmt: skip
    ax.margins(0.12)


def _lines(ax: Axes, context: Context, table: pd.DataFrame, models: list[str]) -> None:
    """Draw controls as heights: they have no cost that compares. A gap beyond the networks' is left out."""
    low, high = ax.get_ylim()
    ax.set_ylim(low, high)
    for number, model in enumerate(m for m in models if context.plan["models"][m]["family"] in CONTROLS):
        height = table[table["model"] == model]["value"].mean()
        if low <= height <= high:
            dash = DASHES[(number + 1) % len(DASHES)]
            ax.axhline(height, color="0.35", linestyle=dash, linewidth=0.8, label=context.label(model))

"""Figure A13: what a network costs against how well it denoises images it never saw."""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure

from bench.report.context import Context
from bench.report.style import MARKERS, PALETTE, count, legend, new_figure

MARKS = (*MARKERS, "X", "*", "<", ">", "p")  # more than colours, so that no two models share both
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
    families = list(dict.fromkeys(context.plan["models"][m]["family"] for m in models))
    figure = new_figure(3.6)
    axes = figure.subplots(2, 2, squeeze=False, sharex="col", sharey="row")
    for column, (metric, name, unit) in enumerate(COSTS):
        costs = context.rows(metric, dataset=dataset).groupby("model")["value"].mean() / unit
        for ax, (table, _) in zip(axes[:, column], values):
            _scatter(ax, context, costs, table, models, families)
        axes[1, column].set_xlabel(name)
    for ax, (_, name) in zip(axes[:, 0], values):
        ax.set_ylabel(name)
    legend(figure, 3)
    return figure, (
        f"{context.title(dataset)}: cost of a network against what it gives: test PSNR at the largest N, PSNR gap at the "
        f"smallest. A hollow marker is a variant of another model. The gap is only good where test PSNR is high: "
        f"an undertrained network has none. {context.shuffles(tests)}. {context.scope}"
    )


def _scatter(ax, context: Context, costs: pd.Series, table: pd.DataFrame, models, families) -> None:
    for number, model in enumerate(models):
        own = table[table["model"] == model]["value"]
        if model not in costs or not len(own) or costs[model] <= 0:
            continue
        family = families.index(context.plan["models"][model]["family"])
        colour = PALETTE[family % len(PALETTE)]
        variant = bool(context.plan["models"][model]["baseline"])
        ax.plot(
            costs[model], own.mean(), MARKS[number % len(MARKS)], markersize=4.5, linestyle="none",
            color="white" if variant else colour, markeredgecolor=colour, label=context.label(model),
        )  # fmt: skip
    if costs.max() > 10 * costs[costs > 0].min():
        ax.set_xscale("log")
    ax.margins(0.12)

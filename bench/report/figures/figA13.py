"""Cost against quality.

The question is whether cost buys quality: the thin line joins the networks that no cheaper one matches in test PSNR.
Grey lines are closed-form controls. A small gap, clipped at 0 per step, is only good if test PSNR is high: a
network that has not learned has none. Ablated variants are in Table A1.
"""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bench.report.context import Context
from bench.report.curves import looks
from bench.report.items import Item
from bench.report.style import DASHES, GREY, legend, letter, new_figure, size
from bench.results.tidy import at

ITEM = Item("Figure A13", measures=("psnr", "cost"))
COSTS = (("parameters", "parameters (M)"), ("macs", "multiply-adds per image (M)"))
ABLATIONS = ("", "local")  # roles that are shown; the rest are parts of a network


def draw(context: Context) -> tuple[Figure, str]:
    """Draw test PSNR at the largest N above the gap at the smallest, against both costs, on the first dataset."""
    tests, gaps = context.rows("psnr_mean", split="test"), context.rows("psnr_gap_mean")
    dataset = context.ordered(tests, "dataset")[0]
    tests, gaps = (at(table, dataset=dataset) for table in (tests, gaps))
    largest, smallest = int(tests["train_size"].max()), int(gaps["train_size"].min())
    values = (
        (at(tests, train_size=largest), f"test PSNR (dB) ↑\n{size(largest)}"),
        (at(gaps, train_size=smallest), f"PSNR gap (dB) ↓\n{size(smallest)}"),
    )
    models = context.ordered(values[0][0], "model")
    networks = [
        m for m in context.networks(values[0][0]) if context.options["models"] or _stands_alone(context, m)
    ]
    figure = new_figure(3.7)
    axes = figure.subplots(2, 2, squeeze=False, sharex="col", sharey="row")
    for column, (metric, name) in enumerate(COSTS):
        costs = context.rows(metric, dataset=dataset)
        own = [at(costs, train_size=n).groupby("model")["value"].mean() / 1e6 for n in (largest, smallest)]
        for ax, price, (table, _) in zip(axes[:, column], own, values):
            _scatter(ax, context, price, table, networks)
        best = _frontier(context, own[0], values[0][0], networks)
        axes[0, column].plot(best.index, best, color="0.7", linewidth=0.7, zorder=0)
        axes[1, column].set_xlabel(name)
        axes[0, column].set_title(letter(column))
    for line, (table, name) in zip(axes, values):
        line[0].set_ylabel(name)
        for ax in line:
            _controls(ax, context, table, [m for m in models if context.is_control(m)])
    legend(figure, 4)
    listed = context.options["models"]
    whose = "the listed models" if listed else "one network of each family and those with windows"
    return figure, (
        f"{context.title(dataset)}: quality of a network against its cost, {whose}; "
        f"{context.shuffles(tests)}. {_finding(context, values[0][0], networks)}"
    )


def _stands_alone(context: Context, model: str) -> bool:
    """Whether a network is shown where the item lists none: the main one of a family, or one with windows."""
    info = context.plan["models"][model]
    return (
        not info["baseline"]
        or context.role(model) in ABLATIONS
        or info["baseline"] not in context.plan["models"]
    )


def _scatter(ax: Axes, context: Context, costs: pd.Series, table: pd.DataFrame, networks: list[str]) -> None:
    every = looks(context, networks)
    for model in networks:
        own = at(table, model=model)["value"]
        if model not in costs or not len(own):
            continue
        look, spread = every[model], own.std() if len(own) > 1 else None
        mark = context.mark(model, table["dataset"].iloc[0], table["train_size"].iloc[0])
        style = {
            "marker": look["marker"],
            "markersize": 4.5,
            "linestyle": "none",
            "ecolor": look["line"],
            "elinewidth": 0.7,
        }
        shades = {"color": look["color"], "markeredgecolor": look["line"]}
        ax.errorbar(costs[model], own.mean(), spread, label=context.label(model), **style, **shades)
        if mark:
            ax.annotate(
                mark, (costs[model], own.mean()), (2, 2), textcoords="offset points", color=look["line"]
            )
    ax.margins(0.12)


def _frontier(context: Context, costs: pd.Series, tests: pd.DataFrame, networks: list[str]) -> pd.Series:
    """Return test PSNR by cost of the settled networks that no cheaper one matches."""
    quality = tests.groupby("model")["value"].mean()
    size_, dataset = tests["train_size"].iloc[0], tests["dataset"].iloc[0]
    known = [m for m in networks if m in costs and context.ranked(m, dataset, size_)]
    found = pd.Series([quality[m] for m in known], index=[costs[m] for m in known], dtype=float)
    found = found.groupby(level=0).max()
    return found[found == found.cummax()].drop_duplicates()


def _controls(ax: Axes, context: Context, table: pd.DataFrame, controls: list[str]) -> None:
    """Draw controls as horizontal lines (their costs do not compare): those in range, and always the linear filter."""
    low, high = ax.get_ylim()
    heights = table.groupby("model")["value"].mean()
    for number, model in enumerate(m for m in controls if m in heights.index):
        linear = context.plan["models"][model]["family"].startswith("wiener")
        if low <= heights[model] <= high or linear:
            ax.axhline(
                heights[model],
                color=GREY,
                linestyle=DASHES[(number + 1) % len(DASHES)],
                linewidth=0.8,
                label=context.label(model),
            )


def _finding(context: Context, tests: pd.DataFrame, networks: list[str]) -> str:
    """Return how many networks lie above the linear filter, and which is best of those that may be ranked."""
    quality, dataset = tests.groupby("model")["value"].mean(), tests["dataset"].iloc[0]
    quality, own = quality[quality.index.isin(networks)], tests["train_size"].iloc[0]
    ranked = quality[[context.ranked(model, dataset, own) for model in quality.index]]
    best = f"At {size(int(own))} every network is not fitted or still learning"
    if len(ranked):
        best = f"Best at {size(int(own))}: {context.label(ranked.idxmax())}, {ranked.max():.2f} dB"
    linear = context.control("psnr_mean", "wiener", dataset=dataset, split="test", train_size=own)
    if not len(linear):
        return f"{best}."
    height = linear["value"].mean()
    return f"{best}; {(quality > height).sum()} of {len(quality)} networks are above the linear filter ({height:.2f} dB)."

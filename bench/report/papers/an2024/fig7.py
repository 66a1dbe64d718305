"""Figure 7: average PSNR gap against N by the placement of local attention, the test PSNR beneath it."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bench.report.context import Context
from bench.report.items import Item
from bench.report.papers.an2024.roles import PLACEMENTS, placements
from bench.report.style import MARKERS, PALETTE, count, new_figure

ITEM = Item(
    title="Figure 7",
    subject="PSNR gap by placement of local attention",
    measures=("psnr",),
    counterpart="DiT-XS/1 on CelebA and ImageNet, N = 1,000, 10,000 and 100,000",
)

BASELINE = "#C00000"
DASHES = ("-", "-.", ":")  # dashed is the baseline


def draw(context: Context) -> tuple[Figure, str]:
    """Draw, for Local and Local*, a panel of gaps over a thin panel of test PSNR; columns are datasets."""
    gaps, tests = context.rows("psnr_gap_mean"), context.rows("psnr_mean", split="test")
    groups = placements(context, set(gaps["model"]))
    shown = gaps[gaps["model"].isin([m for group in groups.values() for m in group.values()])]
    gaps, tests = (
        table[table["shuffle"].isin(shown["shuffle"])] for table in (gaps, tests)
    )  # the baseline may have more
    datasets = context.ordered(shown, "dataset")
    figure = new_figure(2.5 * len(groups) + 0.1)
    ratios = [2.2, 1] * len(groups)
    axes = figure.subplots(2 * len(groups), len(datasets), squeeze=False, sharex=True, height_ratios=ratios)
    for number, (name, group) in enumerate(groups.items()):
        for ax, below, dataset in zip(axes[2 * number], axes[2 * number + 1], datasets):
            _lines(ax, context, gaps[gaps["dataset"] == dataset], name, group)
            _lines(below, context, tests[tests["dataset"] == dataset], name, group)
            _marks(
                ax,
                context,
                name,
                group,
                dataset,
                context.ordered(gaps[gaps["dataset"] == dataset], "train_size"),
            )
            ax.set_title(context.title(dataset))
            ax.legend(loc="upper right", borderpad=0.3)
        axes[2 * number, 0].set_ylabel(f"w/ {name}\nAverage PSNR gap (dB) ←")
        axes[2 * number + 1, 0].set_ylabel("Test PSNR\n(dB) →")
    for line in (axes[::2], axes[1::2]):
        _share(line.ravel())
    return figure, _caption(context, shown)


def _share(axes: np.ndarray) -> None:
    """Give panels one y scale, so that equal distances are equal gaps and equal PSNR."""
    limits = np.array([ax.get_ylim() for ax in axes])
    for ax in axes:
        ax.set_ylim(limits[:, 0].min(), limits[:, 1].max())


def _lines(ax: Axes, context: Context, table: pd.DataFrame, name: str, group: dict[str, str]) -> None:
    sizes = context.ordered(table, "train_size")
    baseline = context.plan["models"][next(iter(group.values()))]["baseline"]
    lines = (
        [(baseline, context.label(baseline), BASELINE, "X", "--")] if baseline in set(table["model"]) else []
    )
    for place, colour, marker, dash in zip(PLACEMENTS, PALETTE, MARKERS, DASHES):
        if place in group:
            lines.append((group[place], f"w/ {name} ({place})", colour, marker, dash))
    for model, label, colour, marker, dash in lines:
        values = table[table["model"] == model].groupby("train_size")["value"]
        mean, spread = (v.reindex(sizes).to_numpy() for v in (values.mean(), values.std()))
        error = None if np.isnan(spread).all() else spread
        ax.errorbar(
            range(len(sizes)),
            mean,
            error,
            color=colour,
            marker=marker,
            linestyle=dash,
            label=label,
            capsize=2,
        )
    ax.set_xticks(range(len(sizes)), [f"N = {count(n)}" for n in sizes])


def _marks(
    ax: Axes, context: Context, name: str, group: dict[str, str], dataset: str, sizes: list[int]
) -> None:
    """Draw the paper's numbers, some read off its figure, as hollow diamonds."""
    rows = context.printed("Figure 7")
    baseline = context.plan["models"][next(iter(group.values()))]["baseline"]
    marks = [
        (number, value, colour)
        for number, size in enumerate(sizes)
        for model, colour in [
            (baseline, BASELINE),
            *((m, PALETTE[PLACEMENTS.index(p)]) for p, m in group.items()),
        ]
        if not np.isnan(value := context.print_of(rows, model, dataset, size))
    ]
    if not marks:
        return
    for place, value, colour in marks:
        ax.plot(
            place, value, "D", color="white", markeredgecolor=colour, markersize=3.5, clip_on=False, zorder=4
        )
    ax.plot([], [], "D", color="white", markeredgecolor="black", markersize=3.5, label="the paper")


def _caption(context: Context, shown: pd.DataFrame) -> str:
    printed = (
        " Diamonds: the paper's numbers (mix and tail read off its figure, ±0.08 dB)."
        if any(path.stem == "published" for path in context.inputs)
        else ""
    )
    whiskers = ", whiskers are one standard deviation" if shown["shuffle"].nunique() > 1 else ""
    return (
        f"Average PSNR gap over the step indices, clipped at 0 per step (lower is better), with local attention in early "
        f"layers (head), every second layer (mix) or late layers (tail); the baseline is dashed red; "
        f"{context.shuffles(shown)}{whiskers}. Beneath, the test PSNR: "
        f"underfitting also lowers the gap.{printed} {context.scope}"
    )

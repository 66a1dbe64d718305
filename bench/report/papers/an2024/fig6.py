"""Figure 6: average PSNR gap with and without local attention, the test PSNR beside it."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bench.report.context import Context
from bench.report.items import Item
from bench.report.style import HATCH, PALETTE, count, legend, new_figure

ITEM = Item(
    title="Figure 6",
    subject="PSNR gap with and without local attention",
    measures=("psnr",),
    counterpart="DiT-XS/1 and DiT-S/1 on CelebA, ImageNet and four LSUN categories, 32x32, N = 1,000, 10,000 and 100,000",
)

BAR = 0.38
HEADROOM = 1.5  # of the highest bar, for numbers and legend
NUMBER, PAD = 0.25, 0.03  # height of a number and its distance to what is beneath, of the highest bar
UNDER = "Under N: test PSNR (dB) of the left bar, then of the right bar"


@dataclass
class Bars:
    """What a panel shows, baseline first: means over shuffles, ends of the whiskers, test PSNR, all by N.

    ``printed`` is (0 for baseline, 1 for variant, N) -> the paper's number; ``floor`` the gap of the identity by N.
    """

    names: tuple[str, str]
    sizes: list[int]
    means: np.ndarray
    spreads: np.ndarray
    tests: np.ndarray
    printed: dict[tuple[int, int], float] = field(default_factory=dict)
    floor: np.ndarray | None = None

    @property
    def ends(self) -> np.ndarray:
        """The upper ends of the whiskers."""
        return self.means + np.nan_to_num(self.spreads)

    @property
    def top(self) -> float:
        """The highest of all that is drawn."""
        return max([1e-9, *self.ends[~np.isnan(self.ends)], *self.printed.values()])


def draw(context: Context) -> tuple[Figure, str]:
    """Draw a panel for each dataset and pair of models; a bar pair for each N."""
    gaps, tests = context.rows("psnr_gap_mean"), context.rows("psnr_mean", split="test")
    pairs = context.pairs(gaps, local=True)
    found = [(d, p) for p in pairs for d in context.ordered(context.paired(gaps, p), "dataset")]
    panels = [
        bars(context, gaps, tests, dataset, pair, in_print(context, "Figure 6", pair, dataset))
        for dataset, pair in found
    ]
    columns = min(3, len(panels))
    rows = -(-len(panels) // columns)
    figure = new_figure(1.95 * rows + 0.4)
    axes = figure.subplots(rows, columns, squeeze=False, sharey=True).ravel()
    top = max(own.top for own in panels)
    for ax, (dataset, pair), own in zip(axes, found, panels):
        own.names = ("global attention", own.names[1])
        panel(ax, own, top)
        ax.set_title(f"{context.title(dataset)}, {context.label(pair[0])}")
    for ax in axes[len(panels) :]:
        ax.remove()
    for ax in axes[: len(panels) : columns]:
        ax.set_ylabel("Average PSNR gap (dB) ←")
    legend(figure)
    figure.legends[0].set_title(UNDER, prop={"size": 6.5})
    shown = pd.concat([context.paired(gaps, pair) for pair in pairs]).drop_duplicates()
    return figure, _caption(context, shown, panels)


def bars(
    context: Context,
    gaps: pd.DataFrame,
    tests: pd.DataFrame,
    dataset: str,
    pair: tuple[str, str],
    printed: dict[tuple[int, int], float],
) -> Bars:
    """Return what a panel shows of two models on a dataset, at the shuffles that both have."""
    gaps, tests = (context.paired(t[t["dataset"] == dataset], pair) for t in (gaps, tests))
    sizes = context.ordered(gaps, "train_size")
    by_size = [
        table[table["model"] == model].groupby("train_size")["value"]
        for table in (gaps, tests)
        for model in pair
    ]
    means = [group.mean().reindex(sizes).to_numpy() for group in by_size]
    spreads = [group.std().reindex(sizes).to_numpy() for group in by_size[:2]]
    return Bars(
        (context.label(pair[0]), context.plan["models"][pair[1]]["variant"] or context.label(pair[1])),
        sizes,
        np.array(means[:2]),
        np.array(spreads),
        np.array(means[2:]),
        {place: value for place, value in printed.items() if place[1] in sizes},
        _floor(context, dataset, sizes),
    )


def _floor(context: Context, dataset: str, sizes: list[int]) -> np.ndarray | None:
    """Return the mean gap of the identity, which learns nothing, by N; None where it was not measured."""
    table = context.table
    same = table[
        (table["metric"] == "psnr_gap_mean")
        & (table["model"] == "identity")
        & (table["dataset"] == dataset)
        & (table["recipe"] == "")
    ]
    return same.groupby("train_size")["value"].mean().reindex(sizes).to_numpy() if len(same) else None


def panel(ax: Axes, shown: Bars, top: float) -> None:
    """Draw the bar pairs of one panel; ``top`` is the highest of all panels of its scale."""
    if not shown.sizes:
        ax.text(0.5, 0.5, "not measured", ha="center", transform=ax.transAxes)
        return
    x = np.arange(len(shown.sizes))
    looks = (
        {"color": "white", "edgecolor": PALETTE[0], "hatch": HATCH, "linewidth": 0.8},
        {"color": PALETTE[1]},
    )
    for side, look in enumerate(looks):
        spread = None if np.isnan(shown.spreads[side]).all() else shown.spreads[side]
        place = x + (side - 0.5) * BAR
        ax.bar(
            place, shown.means[side], BAR, yerr=spread, error_kw={"linewidth": 0.7}, label=shown.names[side], **look
        )  # fmt: skip
    _lines(ax, shown, x)
    _diamonds(ax, shown)
    _numbers(ax, shown, top)
    ax.set_xticks(x, [f"N = {count(n)}\n{a:.2f}\n{b:.2f}" for n, a, b in zip(shown.sizes, *shown.tests)])
    ax.tick_params(axis="x", length=0)
    ax.grid(axis="x", visible=False)
    ax.set_ylim(0, HEADROOM * top)
    ax.margins(x=0.1)


def _lines(ax: Axes, shown: Bars, x: np.ndarray) -> None:
    """Draw the dashed line at the baseline's height and the dotted one at the identity's."""
    ax.hlines(shown.means[0], x - BAR, x + BAR, colors="#C00000", linestyles="--", linewidth=0.8)
    if shown.floor is not None:
        ax.hlines(
            shown.floor, x - BAR, x + BAR, colors="0.35", linestyles=":", linewidth=0.9, label="identity"
        )


def _diamonds(ax: Axes, shown: Bars) -> None:
    if shown.printed:
        places = [shown.sizes.index(size) + (side - 0.5) * BAR for side, size in shown.printed]
        ax.plot(
            places, [*shown.printed.values()], "D", color="white", markeredgecolor="black", markeredgewidth=0.7,
            markersize=3, clip_on=False, zorder=4, label="the paper",
        )  # fmt: skip


def _numbers(ax: Axes, shown: Bars, top: float) -> None:
    """Write each bar's mean above its whisker, the dashed line, and a diamond that is in the way."""
    many = len(shown.sizes) > 2
    for i, size in enumerate(shown.sizes):
        for side in (0, 1):
            height = np.nanmax([shown.ends[side, i], shown.means[0, i]]) + PAD * top
            diamond = shown.printed.get((side, size), -top)
            if height - 2 * PAD * top < diamond < height + (NUMBER + PAD) * top:
                height = diamond + 2 * PAD * top
            ax.text(
                i + (side - 0.5) * BAR, height, f"{shown.means[side, i]:.2f}", ha="center", va="bottom",
                fontsize=6 if many else 6.5, rotation=90 * many,
            )  # fmt: skip


def in_print(
    context: Context, table: str, pair: tuple[str, str], dataset: str
) -> dict[tuple[int, int], float]:
    """Return (0 for the first model, 1 for the second, N) -> the gap that the paper prints in ``table``."""
    rows = context.printed(table)
    found = {
        (side, int(size)): context.print_of(rows, model, dataset, int(size))
        for side, model in enumerate(pair)
        for size in sorted(set(rows["train_size"]))
    }
    return {place: value for place, value in found.items() if not np.isnan(value)}


def _caption(context: Context, gaps: pd.DataFrame, panels: list[Bars]) -> str:
    whiskers = ", whiskers are one standard deviation" if gaps["shuffle"].nunique() > 1 else ""
    floor = (
        " Dotted: the gap of the identity, which learns nothing, the noise floor of a clipped gap."
        if any(shown.floor is not None for shown in panels)
        else ""
    )
    diamonds = " Diamonds: the paper's numbers." if any(s.printed for s in panels) else ""
    return (
        f"Average PSNR gap over the step indices, clipped at 0 per step (lower is better), baseline hatched, dashed "
        f"line at its height, all panels on one scale; {context.shuffles(gaps)}{whiskers}. Under each pair the test PSNR, "
        f"baseline above variant: underfitting also lowers the gap.{floor}{diamonds} {context.scope}"
    )

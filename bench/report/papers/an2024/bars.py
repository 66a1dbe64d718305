"""What Figures 6 and 8 share: a pair of bars for each N, with the interval of their paired difference."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes

from bench.report.context import Context
from bench.report.paired import Change, change
from bench.report.style import HATCH, PALETTE, turned
from bench.results.tidy import at

BAR = 0.38
ROOMY = 6  # bar pairs abreast; of more the numbers stand upright
FEWEST = 2  # bar pairs for which a panel has room, so that a single one is no wider than others
OUTSIDE = 0.16  # beside the outer pairs, of the distance of two
HEADROOM = 1.35  # of the highest bar, for numbers and marks
INNER, OUTER = 0.04, 0.13  # of a number and of a diamond from the middle of their bar, to keep them apart
PAD = 0.03  # distance of a number to what is beneath, of the highest bar
LINE = "#C00000"
SMALL_GAPS = 0.5  # dB; smaller ones have a third decimal
WHISKERS = "whiskers are the 95 % interval of the paired difference; one that crosses the dashed line shows no difference"


@dataclass
class Bars:
    """What a panel shows of two models on a dataset: gaps and test PSNR by N, the paper's gaps, the identity's gap by N.

    ``printed`` is (0 for the first model, 1 for the second, N) -> the paper's number.
    """

    models: tuple[str, str]
    dataset: str
    gaps: dict[int, Change]
    tests: dict[int, Change]
    printed: dict[tuple[int, int], float]
    floor: dict[int, float]

    @property
    def top(self) -> float:
        """The largest value drawn."""
        sides = [side.mean() for own in self.gaps.values() for side in (own.first, own.second)]
        ends = [own.first.mean() + own.interval.high for own in self.gaps.values() if own.interval.count > 1]
        return max([1e-9, *sides, *ends, *self.printed.values()])


def bars(context: Context, dataset: str, pair: tuple[str, str], table: str) -> Bars:
    """Return what a panel shows of a pair, at the shuffles that both have; ``table`` is the paper's own figure."""
    gaps = context.paired(context.rows("psnr_gap_mean", dataset=dataset), pair)
    tests = context.paired(context.rows("psnr_mean", dataset=dataset, split="test"), pair)
    sizes, rows = context.ordered(gaps, "train_size"), context.printed(table)
    printed = {
        (side, n): context.print_of(rows, model, dataset, n) for side, model in enumerate(pair) for n in sizes
    }
    identity = (
        context.control("psnr_gap_mean", "identity", dataset=dataset).groupby("train_size")["value"].mean()
    )
    return Bars(
        pair,
        dataset,
        {n: change(at(gaps, train_size=n), pair) for n in sizes},
        {n: change(at(tests, train_size=n), pair) for n in sizes},
        {place: value for place, value in printed.items() if not np.isnan(value)},
        {n: identity[n] for n in sizes if n in identity.index},
    )


def panel(
    ax: Axes,
    context: Context,
    shown: Bars,
    top: float,
    names: tuple[str, str] | None = None,
    room: float = HEADROOM,
) -> None:
    """Draw the bar pairs of one panel; ``top`` is the highest of all panels of its scale, ``names`` label the bars."""
    x = np.arange(len(shown.gaps))
    crowded = len(x) * ax.get_subplotspec().get_gridspec().ncols > ROOMY
    looks: tuple[dict, dict] = (
        {"color": "white", "edgecolor": PALETTE[0], "hatch": HATCH, "linewidth": 0.8},
        {"color": PALETTE[1]},
    )
    first, second = (
        np.array([getattr(own, side).mean() for own in shown.gaps.values()]) for side in ("first", "second")
    )
    for side, (heights, look) in enumerate(zip((first, second), looks)):
        ax.bar(x + (side - 0.5) * BAR, heights, BAR, label=names and names[side], **look)
    highest = _whiskers(ax, shown, x)
    level = names and "level of the left bar"
    ax.hlines(first, x - BAR, x + BAR, colors=LINE, linestyles="--", linewidth=0.8, label=level)
    floors = [(place, shown.floor[n]) for place, n in enumerate(shown.gaps) if n in shown.floor]
    if floors:
        places, heights = np.array(floors).T
        ax.hlines(
            heights,
            places - BAR,
            places + BAR,
            colors="0.35",
            linestyles=":",
            linewidth=0.9,
            label=names and "identity",
        )
    _diamonds(ax, shown, labelled=names is not None)
    for place, n in enumerate(shown.gaps):
        for side, height in ((0, first[place]), (1, max(second[place], first[place], highest[place]))):
            gap = (first, second)[side][place]
            value = f"{gap:.{3 if gap < SMALL_GAPS else 2}f}"
            mark = context.mark(shown.models[side], shown.dataset, n)
            text = value + mark if crowded or not mark else f"{mark.strip()}\n{value}"
            style = {"ha": "center", "va": "bottom", "fontsize": 6, "rotation": 90 * crowded}
            box = {"facecolor": "white", "edgecolor": "none", "pad": 0.5, "alpha": 0.8}
            beside = place + (side - 0.5) * (BAR - 2 * INNER * bool(shown.printed))
            ax.text(beside, height + PAD * top, turned(text) if crowded else text, bbox=box, **style)
    ax.set_xticks(x, [_under(shown, n, crowded) for n in shown.gaps])
    ax.tick_params(axis="x", length=0)
    ax.grid(axis="x", visible=False)
    ax.set_ylim(0, room * top)
    middle, half = (len(x) - 1) / 2, max(len(x), FEWEST) / 2 + OUTSIDE
    ax.set_xlim(middle - half, middle + half)


def _whiskers(ax: Axes, shown: Bars, x: np.ndarray) -> np.ndarray:
    """Draw the interval of each difference around the second bar; return the upper ends, 0 if there is none."""
    ends = np.zeros(len(x))
    for place, own in zip(x, shown.gaps.values()):
        if own.interval.count > 1:
            low, high = (own.first.mean() + end for end in (own.interval.low, own.interval.high))
            ax.plot([place + BAR / 2] * 2, [max(low, 0), high], color="black", linewidth=0.8, zorder=3)
            ends[place] = high
    return ends


def _diamonds(ax: Axes, shown: Bars, labelled: bool) -> None:
    if shown.printed:
        sizes = [*shown.gaps]
        places = [sizes.index(n) + (side - 0.5) * (BAR + 2 * OUTER) for side, n in shown.printed]
        look = {
            "color": "white",
            "markeredgecolor": "black",
            "markeredgewidth": 0.7,
            "markersize": 3,
            "zorder": 4,
        }
        label = "the paper (numbers under N)" if labelled else None
        ax.plot(places, [*shown.printed.values()], "D", clip_on=False, label=label, **look)


def _under(shown: Bars, n: int, crowded: bool) -> str:
    """Return the lines under a pair of bars: N, test PSNR of both, the paper's gap of both."""
    test = shown.tests[n]
    lines = [
        f"{n:,}" if crowded else f"N = {n:,}",
        *(f"{side.mean():.2f}" for side in (test.first, test.second)),
    ]
    return "\n".join(
        lines + [f"◇ {shown.printed[side, n]:.2f}" for side in (0, 1) if (side, n) in shown.printed]
    )


def under(panels: list[Bars]) -> str:
    """Return the note on the lines under the bars."""
    paper = "; ◇ the paper's gap of both" if any(shown.printed for shown in panels) else ""
    return f"Under the bars: N, test PSNR (dB) of the left bar, then of the right bar{paper}"


def finding(context: Context, panels: list[Bars]) -> str:
    """Return in how many cells the second gap is smaller, shown to be so, and in how many of these test PSNR is kept."""
    cells = [(own.gaps[n], own.tests[n]) for own in panels for n in own.gaps]
    smaller = [(g, t) for g, t in cells if g.second.mean() < g.first.mean()]
    kept = sum(test.second.mean() >= test.first.mean() - 0.1 for _, test in smaller)
    tested = [gap.interval for gap, _ in cells if gap.interval.count > 1]
    by_more = sum(one.high < 0 for one in tested)
    of = "the one cell" if len(tested) == 1 else f"the {len(tested)} cells"
    shown = f" (beyond its interval in {by_more} of {of} with several shuffles)" if tested else ""
    price = f"; in {kept} of these test PSNR is kept within 0.1 dB" if smaller else ""
    return f"The mean gap is smaller in {len(smaller)} of {len(cells)} cells{shown}{price}."

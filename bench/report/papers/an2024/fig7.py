"""PSNR gap by placement of local attention.

Head: the first layers are local; mix: every second layer; tail: the last layers; the baseline is dashed red. Lower
gaps are better, but underfitting lowers them too: read the test PSNR below. Some of the paper's numbers were read
off its figure, within 0.08 dB.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bench.models.windows import PLACEMENTS
from bench.report.context import Context
from bench.report.curves import positions
from bench.report.items import Item
from bench.report.paired import change
from bench.report.papers.an2024.roles import best, compared, in_words, placements
from bench.report.style import MARKERS, PALETTE, legend, letter, new_figure, share_y
from bench.results.tidy import at

ITEM = Item(
    "Figure 7",
    measures=("psnr",),
    counterpart="DiT-XS/1 on CelebA and ImageNet, N = 1,000, 10,000 and 100,000",
)
BASELINE = "#C00000"
SIDE = 0.2  # of a diamond from its N
LABEL = 0.065  # least distance of two printed numbers, of the panel's height


def draw(context: Context) -> tuple[Figure, str]:
    """Draw, for Local and Local*, a panel of gaps over a thin panel of test PSNR; columns are datasets.

    With one dataset, Local and Local* are side by side. N are those at which placements were compared.
    """
    gaps, tests = context.rows("psnr_gap_mean"), context.rows("psnr_mean", split="test")
    groups = placements(context, {*gaps["model"]})
    placed = [model for group in groups.values() for model in group.values()]
    several = gaps[gaps["model"].isin(placed)]["shuffle"].nunique()
    gaps, tests = compared(gaps, groups), compared(tests, groups)
    shown = gaps[gaps["model"].isin(placed)]
    datasets, sizes = context.ordered(shown, "dataset"), context.ordered(shown, "train_size")
    abreast = len(datasets) == 1
    rows, columns = (1, len(groups)) if abreast else (len(groups), len(datasets))
    figure = new_figure(2.3 * rows + 0.4)
    axes = figure.subplots(2 * rows, columns, squeeze=False, sharex=True, height_ratios=[2.4, 1] * rows)
    printed: list[tuple[Axes, list]] = []
    for number, (name, group) in enumerate(groups.items()):
        lines = _models(context, group)
        for place, dataset in enumerate(datasets):
            row, column = (0, number) if abreast else (number, place)
            above, beneath = axes[2 * row : 2 * row + 2, column]
            for ax, table in ((above, gaps), (beneath, tests)):
                _lines(ax, context, at(table, dataset=dataset), lines, sizes)
            title = context.title(dataset) + (f", w/ {name}" if abreast else "")
            above.set_title((letter(column, title) if columns > 1 else title) if row == 0 else "")
            printed.append((above, _diamonds(above, context, dataset, lines, sizes)))
            if column == 0:
                above.set_ylabel(("" if abreast else f"w/ {name}\n") + "Average PSNR gap (dB) ↓")
                beneath.set_ylabel("Test PSNR\n(dB) ↑")
    for line in (axes[::2], axes[1::2]):
        share_y(line.ravel())
    for ax, marks in printed:
        _numbers(ax, marks)
    legend(figure, 5)
    cut = (
        " No axis starts at 0."
        if axes[0, 0].get_ylim()[0] > 0
        else " The axis of test PSNR does not start at 0."
    )
    fewer = " Shuffles that a placement lacks are left out, so numbers differ from those of other figures."
    left_out = fewer if several > shown["shuffle"].nunique() else ""
    return figure, _caption(context, shown, groups, any(marks for _, marks in printed)) + left_out + cut


def _models(context: Context, group: dict[str, str]) -> list[tuple[str, str, str, str, object]]:
    """Return (model, label, colour, marker, dash) of the baseline and of each placement."""
    baseline = context.plan["models"][next(iter(group.values()))]["baseline"]
    lines = (
        [(baseline, context.label(baseline), BASELINE, "p", "--")]
        if baseline in context.plan["models"]
        else []
    )
    for place, colour, marker, dash in zip(PLACEMENTS, PALETTE, MARKERS, ("-", "-.", ":")):
        if place in group:
            lines.append((group[place], place, colour, marker, dash))
    return lines  # type: ignore[return-value]


def _lines(ax: Axes, context: Context, table: pd.DataFrame, lines: list, sizes: list[int]) -> None:
    """Draw means by N, at the shuffles that model and baseline share, with the interval of their difference."""
    baseline = lines[0][0]
    for number, (model, label, colour, marker, dash) in enumerate(lines):
        found = (
            [change(at(table, train_size=n), (baseline, model)) for n in sizes] if model != baseline else []
        )
        paired = [own for own in found if len(own.second)]
        if model == baseline or len(paired) < len(sizes):
            means = [at(table, train_size=n, model=model)["value"].mean() for n in sizes]
        else:
            means = [own.second.mean() for own in found]
        half = np.array([own.interval.half() if own.interval.count > 1 else np.nan for own in found])
        error = None if np.isnan(half).all() else half
        places = np.arange(len(sizes)) + positions(len(lines), number, 0.06 if len(sizes) > 1 else 0.2)
        line = dash if len(sizes) > 1 else "none"
        ax.errorbar(places, means, error, color=colour, marker=marker, linestyle=line, label=label, capsize=2)
        for place, mean, n in zip(places, means, sizes):
            if mark := context.mark(model, table["dataset"].iloc[0], n):
                ax.annotate(
                    mark.strip(), (place, mean), (0, 3), textcoords="offset points", ha="center", color=colour
                )
    ax.set_xticks(range(len(sizes)), [f"N = {n:,}" if len(sizes) < 4 else f"{n:,}" for n in sizes])
    ax.margins(x=0.15, y=0.35)


def _diamonds(
    ax: Axes, context: Context, dataset: str, lines: list, sizes: list[int]
) -> list[tuple[int, float, str]]:
    """Draw the paper's numbers as hollow diamonds; return (place, value, colour) of each."""
    rows = context.printed("Figure 7")
    found = [
        (i, context.print_of(rows, m, dataset, n), c) for i, n in enumerate(sizes) for m, _, c, *_ in lines
    ]
    found = [mark for mark in found if not np.isnan(mark[1])]
    for number, (place, value, colour) in enumerate(found):
        look = {"color": "white", "markeredgecolor": colour, "markersize": 3.5, "zorder": 4}
        ax.plot(place + SIDE, value, "D", label=None if number else "the paper", **look)
    return found


def _numbers(ax: Axes, marks: list[tuple[int, float, str]]) -> None:
    """Write each diamond's value beside it, moved up where it would lie on another."""
    low, high = ax.get_ylim()
    for place in {mark[0] for mark in marks}:
        height = low - high
        for _, value, colour in sorted(mark for mark in marks if mark[0] == place):
            height = max(value, height + LABEL * (high - low))
            look = {"color": colour, "fontsize": 5.5, "va": "center", "zorder": 5}
            box = {"facecolor": "white", "edgecolor": "none", "pad": 0.3, "alpha": 0.8}
            ax.text(place + SIDE + 0.07, height, f"{value:.2f}", bbox=box, **look)


def _caption(context: Context, shown: pd.DataFrame, groups: dict[str, dict[str, str]], diamonds: bool) -> str:
    several = shown["shuffle"].nunique() > 1
    whiskers = ", whiskers are the 95 % interval of the paired difference to the baseline" if several else ""
    printed = " Diamonds with numbers: the paper." if diamonds else ""
    kinds = {model: (name, place) for name, group in groups.items() for place, model in group.items()}
    means = shown.groupby(["dataset", "train_size", "model"], as_index=False)["value"].mean()
    means["windows"], means["placement"] = (means["model"].map(lambda m, i=i: kinds[m][i]) for i in (0, 1))
    found = best(context, means, "value")
    least = "; ".join(f"{name}: {in_words(found[found['windows'] == name])}" for name in groups)
    return (
        "Average PSNR gap with local attention in early layers (head), every second layer (mix) or late layers "
        f"(tail), and below it the test PSNR; {context.shuffles(shown)}{whiskers}. Smallest gap, "
        f"{least}.{printed}{context.windows_of(m for group in groups.values() for m in group.values())}"
    )

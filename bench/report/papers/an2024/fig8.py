"""PSNR gap by window size.

The dashed line marks the reference. The lists of the smaller and larger windows are assumed: the
paper does not give them. Underfitting also lowers the gap: read the test PSNR beneath.
"""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure

from bench.report.context import Context
from bench.report.items import Item
from bench.report.papers.an2024.bars import WHISKERS, bars, finding, panel, under
from bench.report.papers.an2024.roles import comparisons
from bench.report.style import SMALL, letter, new_figure

ITEM = Item(
    "Figure 8",
    measures=("psnr",),
    counterpart="DiT-XS/1 on CelebA and ImageNet, N = 1,000, 10,000 and 100,000",
)
ROOM = 1.75  # of the highest bar, for numbers and legend


def draw(context: Context) -> tuple[Figure, str]:
    """Draw a row for each comparison and a column for each dataset."""
    gaps = context.rows("psnr_gap_mean")
    pairs = comparisons(context, {*gaps["model"]})
    own = pd.concat([context.paired(gaps, pair) for pair in pairs.values()])
    datasets = context.ordered(own, "dataset")
    rows = [[bars(context, dataset, pair, "Figure 8") for dataset in datasets] for pair in pairs.values()]
    every = [shown for row in rows for shown in row]
    figure = new_figure((2.15 + 0.25 * any(shown.printed for shown in every)) * len(pairs) + 0.2)
    axes = figure.subplots(len(pairs), len(datasets), squeeze=False)
    for name, line, row in zip(pairs, axes, rows):
        for number, (ax, shown) in enumerate(zip(line, row)):
            panel(
                ax,
                context,
                shown,
                max(own.top for own in row),
                tuple(map(context.variant, shown.models)),  # type: ignore[arg-type]
                ROOM,
            )
            if name == next(iter(pairs)):
                ax.set_title(letter(number, context.title(shown.dataset)))
            ax.legend(loc="upper right", borderpad=0.3)
        line[0].set_ylabel(f"{name.capitalize()}\nPSNR gap (dB) ↓")
    figure.supxlabel(under(every), fontsize=SMALL)
    counts = [own.interval.count for shown in every for own in shown.gaps.values()]
    whiskers = f", {WHISKERS}" if max(counts, default=0) > 1 else ""
    return figure, (
        "Average PSNR gap when the mean window is kept, made smaller, or made larger; the reference is hatched, "
        f"each row on one scale; {max(counts, default=0)} shuffle{'s' * (max(counts, default=0) > 1)}{whiskers}. "
        f"{finding(context, every)}{context.windows_of(model for pair in pairs.values() for model in pair)}"
    )

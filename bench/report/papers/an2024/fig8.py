"""PSNR gap by window size.

The dashed line marks the reference. The lists of the smaller and larger windows are assumed: the
paper does not give them. Underfitting also lowers the gap: read the test PSNR below.
"""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure

from bench.report.context import Context
from bench.report.items import Item
from bench.report.papers.an2024.bars import WHISKERS, bars, finding, panel, under
from bench.report.papers.an2024.roles import CHANGES, changes_in_words, comparisons
from bench.report.style import SMALL, entries, letter, new_figure
from bench.report.wording import shuffles_in_words

ITEM = Item(
    "Figure 8",
    measures=("psnr",),
    counterpart="DiT-XS/1 on CelebA and ImageNet, N = 1,000, 10,000 and 100,000",
)
ROOM = 1.75  # of the highest bar, for numbers and legend


def draw(context: Context) -> tuple[Figure, str]:
    """Draw a row for each comparison and a column for each dataset; with one dataset, comparisons are side by side."""
    gaps = context.rows("psnr_gap_mean")
    pairs = comparisons(context, {*gaps["model"]})
    own = pd.concat([context.paired(gaps, pair) for pair in pairs.values()])
    datasets = context.ordered(own, "dataset")
    rows = [[bars(context, dataset, pair, "Figure 8") for dataset in datasets] for pair in pairs.values()]
    every = [shown for row in rows for shown in row]
    abreast = len(datasets) == 1
    lines = 1 if abreast else len(pairs)
    figure = new_figure((2.15 + 0.25 * any(shown.printed for shown in every)) * lines + 0.2)
    axes = figure.subplots(lines, len(every) // lines, squeeze=False, sharey=abreast)
    top = max(shown.top for shown in every)
    for place, (name, line, row) in enumerate(zip(pairs, axes.T if abreast else axes, rows)):
        for number, (ax, shown) in enumerate(zip(line, row)):
            panel(
                ax,
                context,
                shown,
                top if abreast else max(own.top for own in row),
                tuple(map(context.variant, shown.models)),  # type: ignore[arg-type]
                ROOM,
            )
            if abreast:
                title = f"{context.title(shown.dataset)}, {CHANGES[name]}"
                ax.set_title(letter(place, title) if len(every) > 1 else title, fontsize=7)
            elif place == 0:
                ax.set_title(letter(number, context.title(shown.dataset)))
            found = entries([ax])
            ax.legend(found.values(), found.keys(), loc="upper right", borderpad=0.3)
        if not (abreast and place):
            line[0].set_ylabel(
                "Average PSNR gap (dB) ↓" if abreast else f"{name.capitalize()}\nPSNR gap (dB) ↓"
            )
    figure.supxlabel(under(every), fontsize=SMALL)
    counts = [own.interval.count for shown in every for own in shown.gaps.values()]
    scale = f"; {'all panels' if abreast else 'each row'} on one scale" if len(every) > 1 else ""
    whiskers = f", {WHISKERS}" if max(counts, default=0) > 1 else ""
    return figure, (
        f"Average PSNR gap with the reference's windows (hatched) and with {changes_in_words(pairs)}, "
        f"{shuffles_in_words(counts)}{scale}{whiskers}. Dotted: the noisy image itself. "
        f"{finding(context, every)}{context.windows_of(model for pair in pairs.values() for model in pair)}"
    )

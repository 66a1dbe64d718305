"""PSNR gap with and without local attention.

The gap is averaged over the step indices and clipped at 0 per step; lower is better, but underfitting lowers it too:
read the test PSNR below. The dashed line marks the baseline. The gap of the identity, which learns
nothing, is the noise floor of a clipped gap.
"""

from __future__ import annotations

from matplotlib.figure import Figure

from bench.report.context import Context
from bench.report.items import Item
from bench.report.papers.an2024.bars import WHISKERS, Bars, bars, finding, panel, under
from bench.report.style import SMALL, legend, letter, new_figure
from bench.report.wording import shuffles_in_words

ITEM = Item(
    "Figure 6",
    measures=("psnr",),
    counterpart="DiT-XS/1 and DiT-S/1 on CelebA, ImageNet and four LSUN categories, 32x32, N = 1,000, 10,000 and 100,000",
)
ABREAST, CROWDED = 3, 3  # panels; more N than this take the room of a panel


def draw(context: Context) -> tuple[Figure, str]:
    """Draw a block for each pair of models, a panel in it for each dataset, a bar pair for each N."""
    gaps = context.rows("psnr_gap_mean")
    blocks = []
    for pair in context.pairs(gaps, local=True):
        datasets = context.ordered(context.paired(gaps, pair), "dataset")
        if datasets:
            blocks.append([bars(context, dataset, pair, "Figure 6") for dataset in datasets])
    every = [shown for block in blocks for shown in block]
    top, printed = max(shown.top for shown in every), any(shown.printed for shown in every)
    abreast = ABREAST - (max(len(shown.gaps) for shown in every) > CROWDED)
    rows = [-(-len(block) // abreast) for block in blocks]
    high = 1.75 + 0.25 * printed
    figure = new_figure(high * sum(rows) + 0.35 * len(blocks) + 0.4)
    parts = figure.subfigures(len(blocks), 1, squeeze=False, height_ratios=[high * r + 0.35 for r in rows])[
        :, 0
    ]
    for place, (part, block, lines) in enumerate(zip(parts, blocks, rows)):
        part.suptitle(_title(context, place if len(blocks) > 1 else None, block[0]), fontsize=7.5)
        columns = min(abreast, len(block))
        axes = part.subplots(lines, columns, squeeze=False, sharey=True).ravel()
        for number, (ax, shown) in enumerate(zip(axes, block)):
            names = ("global attention", context.variant(shown.models[1])) if number == 0 else None
            panel(ax, context, shown, top, names)
            ax.set_title(context.title(shown.dataset))
            if number % columns == 0:
                ax.set_ylabel("Average PSNR gap (dB) ↓")
        for ax in axes[len(block) :]:
            ax.remove()
    parts[-1].supxlabel(under(every), fontsize=SMALL)
    legend(figure)
    counts = [own.interval.count for shown in every for own in shown.gaps.values()]
    whiskers = f", {WHISKERS}" if max(counts) > 1 else ""
    return figure, (
        "Average PSNR gap with global attention (hatched) and with local attention, all panels on one scale; "
        f"{shuffles_in_words(counts)}{whiskers}. {finding(context, every)}"
    )


def _title(context: Context, place: int | None, shown: Bars) -> str:
    """Return the heading of a block: its letter, where there are several, the baseline's size as the paper prints it, the
    variant's windows and layers."""
    baseline, variant = shown.models
    options = context.plan["models"][baseline]["options"]
    sizes = [
        f"{name} {options[key]}"
        for key, name in (("width", "hidden size"), ("heads", "heads"))
        if key in options
    ]
    first = ", ".join([context.label(baseline), *sizes])
    first = first if place is None else letter(place, first)
    return f"{first}\n{context.variant(variant)}: {context.windows(variant)}"

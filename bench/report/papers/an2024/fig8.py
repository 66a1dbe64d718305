"""Figure 8: average PSNR gap when the windows keep their mean size, shrink, or grow."""

from __future__ import annotations

from itertools import groupby

from matplotlib.figure import Figure

from bench.report.context import Context
from bench.report.items import Item
from bench.report.papers.an2024.fig6 import UNDER, bars, in_print, panel
from bench.report.papers.an2024.roles import comparisons
from bench.report.style import new_figure

ITEM = Item(
    title="Figure 8",
    subject="PSNR gap by window size",
    measures=("psnr",),
    counterpart="DiT-XS/1 on CelebA and ImageNet, N = 1,000, 10,000 and 100,000",
)

NUMBERS = {2: "two", 3: "three", 4: "four", 5: "five", 6: "six"}


def draw(context: Context) -> tuple[Figure, str]:
    """Draw a row for each comparison and a column for each dataset."""
    gaps, tests = context.rows("psnr_gap_mean"), context.rows("psnr_mean", split="test")
    pairs = comparisons(context, set(gaps["model"]))
    shown = gaps[gaps["model"].isin([m for pair in pairs.values() for m in pair])]
    changed = shown[shown["model"].isin([second for _, second in pairs.values()])]
    datasets = context.ordered(changed, "dataset")
    figure = new_figure(1.95 * len(pairs) + 0.2)
    axes = figure.subplots(len(pairs), len(datasets), squeeze=False)
    for row, (name, pair) in zip(axes, pairs.items()):
        panels = [
            bars(context, shown, tests, dataset, pair, in_print(context, "Figure 8", pair, dataset))
            for dataset in datasets
        ]
        for ax, dataset, own in zip(row, datasets, panels):
            panel(ax, own, max(own.top for own in panels))
            ax.set_title(context.title(dataset))
            ax.legend(loc="upper right", borderpad=0.3)
        row[0].set_ylabel(f"{name.capitalize()}\nPSNR gap (dB) ←")
    figure.supxlabel(UNDER, fontsize=6.5)
    whiskers = ", whiskers are one standard deviation" if shown["shuffle"].nunique() > 1 else ""
    diamonds = (
        " Diamonds: the paper's numbers." if any(path.stem == "published" for path in context.inputs) else ""
    )
    return figure, (
        f"Average PSNR gap over the step indices, clipped at 0 per step (lower is better), when the mean window is kept, "
        f"made smaller, or made larger; the reference is hatched, the dashed line at its height, each row on one scale; "
        f"{context.shuffles(shown)}{whiskers}. Under each pair the test PSNR: underfitting also lowers the gap. "
        f"Windows by layer, first to last: {_windows(context, pairs)}. The smaller and larger lists are assumed, the paper "
        f"does not give them.{diamonds} {context.scope}"
    )


def _windows(context: Context, pairs: dict[str, tuple[str, str]]) -> str:
    """Return the windows of all models that are compared, in words."""
    models = [context.plan["models"][m] for m in dict.fromkeys(m for pair in pairs.values() for m in pair)]
    return "; ".join(f"{m['variant']}: {in_words(m['options']['windows'])}" for m in models)


def in_words(windows: str) -> str:
    """Return a preset's windows, say ``5*6@head``, in words: 5 in six layers."""
    parts = [part.split("*") for part in windows.partition("@")[0].split(",")]
    sizes = [size for size, *times in parts for _ in range(int(times[0]) if times else 1)]
    found = [(size, len([*same])) for size, same in groupby(sizes)]
    if len({times for _, times in found}) > 1:
        return ", ".join(sizes)
    layers = "one layer" if found[0][1] == 1 else f"{NUMBERS.get(found[0][1], found[0][1])} layers"
    return f"{', '.join(size for size, _ in found)} in {layers}{' each' if len(found) > 1 else ''}"

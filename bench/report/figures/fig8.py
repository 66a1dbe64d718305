"""Figure 8: average PSNR gap when the windows keep their mean size, shrink, or grow."""

from __future__ import annotations

from matplotlib.figure import Figure

from bench.report.context import Context
from bench.report.figures.fig6 import UNDER, panel
from bench.report.style import new_figure
from bench.report.variants import comparisons, is_paper_model


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
        for ax, dataset in zip(row, datasets):
            printed = _printed(context, name, pair, dataset)
            panel(
                ax,
                context,
                shown[shown["dataset"] == dataset],
                tests[tests["dataset"] == dataset],
                pair,
                printed,
            )
            ax.set_title(context.title(dataset))
            ax.legend(loc="upper right", borderpad=0.3)
        row[0].set_ylabel(f"{name.capitalize()}\nPSNR gap (dB) ←")
    figure.supxlabel(UNDER, fontsize=6.5)
    whiskers = ", whiskers are one standard deviation" if shown["shuffle"].nunique() > 1 else ""
    diamonds = (
        " Diamonds: the paper's numbers."
        if any(p.stem == "psnr_gap_window_size" for p in context.inputs)
        else ""
    )
    return figure, (
        f"Average PSNR gap (lower is better) when the mean window is kept, made smaller, or made larger; the reference is "
        f"hatched, the dashed line at its height; {context.shuffles(shown)}{whiskers}. Under each pair the test PSNR: "
        f"underfitting also lowers the gap. The smaller and larger lists are assumed, the paper does not give them."
        f"{diamonds} {context.scope}"
    )


def _printed(
    context: Context, name: str, pair: tuple[str, str], dataset: str
) -> dict[tuple[int, int], float]:
    table = context.printed("psnr_gap_window_size")
    if not len(table) or not is_paper_model(context, pair[0]):
        return {}
    same = table[(table["comparison"] == name) & (table["dataset"] == context.title(dataset))]
    order = list(dict.fromkeys(same["windows"]))
    return {(order.index(r.windows), r.train_size): r.mean_psnr_gap_db for r in same.itertuples()}

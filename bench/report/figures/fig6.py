"""Figure 6: average PSNR gap with and without local attention, the test PSNR beside it."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bench.report.context import Context
from bench.report.style import HATCH, PALETTE, count, new_figure

BAR = 0.38
UNDER = "Under N: test PSNR (dB) of the left bar, then of the right bar"


def draw(context: Context) -> tuple[Figure, str]:
    """Draw a panel for each dataset and pair of models; a bar pair for each N."""
    gaps, tests = context.rows("psnr_gap_mean"), context.rows("psnr_mean", split="test")
    pairs = context.pairs(gaps, local=True)
    panels = [(d, p) for p in pairs for d in context.ordered(context.paired(gaps, p), "dataset")]
    columns = min(3, len(panels))
    rows = -(-len(panels) // columns)
    figure = new_figure(1.95 * rows + 0.1)
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for ax, (dataset, pair) in zip(axes, panels):
        panel(
            ax,
            context,
            gaps[gaps["dataset"] == dataset],
            tests[tests["dataset"] == dataset],
            pair,
            _printed(context, pair, dataset),
        )
        ax.set_title(f"{context.title(dataset)}, {context.label(pair[0])}")
    for ax in axes[len(panels) :]:
        ax.remove()
    for ax in axes[: len(panels) : columns]:
        ax.set_ylabel("Average PSNR gap (dB) ←")
        ax.legend(loc="upper right", borderpad=0.3)
    figure.supxlabel(UNDER, fontsize=6.5)
    return figure, _caption(context, gaps)


def panel(
    ax: Axes, context: Context, gaps: pd.DataFrame, tests: pd.DataFrame, pair: tuple[str, str], printed: dict
) -> None:
    """Draw the bar pairs of one dataset; ``printed`` is (position in the pair, N) -> the paper's number."""
    gaps, tests = context.paired(gaps, pair), context.paired(tests, pair)
    sizes = context.ordered(gaps, "train_size")
    if not sizes:
        ax.text(0.5, 0.5, "not measured", ha="center", transform=ax.transAxes)
        return
    baseline, variant = (_mean(gaps, model, sizes) for model in pair)
    spread = [_spread(gaps, model, sizes) for model in pair]
    x = np.arange(len(sizes))
    ax.bar(
        x - BAR / 2, baseline, BAR, yerr=spread[0], color="white", edgecolor=PALETTE[0], hatch=HATCH, linewidth=0.8,
        error_kw={"linewidth": 0.7}, label=context.label(pair[0]),
    )  # fmt: skip
    word = context.plan["models"][pair[1]]["variant"] or context.label(pair[1])
    ax.bar(
        x + BAR / 2, variant, BAR, yerr=spread[1], color=PALETTE[1], error_kw={"linewidth": 0.7}, label=word
    )
    printed = {place: value for place, value in printed.items() if place[1] in sizes}
    top = max([np.nanmax(baseline), np.nanmax(variant), 1e-9, *printed.values()])
    for i in range(len(sizes)):
        ax.plot([x[i] - BAR, x[i] + BAR], [baseline[i]] * 2, "--", color="#C00000", linewidth=0.8)
        for side, value in enumerate((baseline[i], variant[i])):
            place = x[i] + (side - 0.5) * BAR
            height = max(value, baseline[i]) + 0.03 * top  # clear of the dashed line
            many = len(sizes) > 2
            ax.text(
                place,
                height,
                f"{value:.2f}",
                ha="center",
                va="bottom",
                fontsize=6 if many else 6.5,
                rotation=90 * many,
            )
    test = [_mean(tests, model, sizes) for model in pair]
    labels = [f"N = {count(n)}\n{a:.2f}\n{b:.2f}" for n, a, b in zip(sizes, *test)]
    ax.set_xticks(x, labels)
    if printed:
        places = [
            x[sizes.index(size)] + (side - 0.5) * 1.85 * BAR for side, size in printed
        ]  # beside the numbers
        style = {"color": "white", "markeredgecolor": "black", "markeredgewidth": 0.7, "markersize": 3}
        ax.plot(places, list(printed.values()), "D", label="the paper", **style)
    ax.tick_params(axis="x", length=0)
    ax.grid(axis="x", visible=False)
    ax.set_ylim(0, 1.5 * top)
    ax.margins(x=0.1)


def _printed(context: Context, pair: tuple[str, str], dataset: str) -> dict[tuple[int, int], float]:
    """Return (0 for global, 1 for local, N) -> the gap that the paper prints, where it has this dataset and model."""
    table = context.printed("psnr_gap_local_attention")
    if not len(table) or context.plan["models"][pair[1]]["variant"] != "w/ Local":
        return {}
    same = table[(table["dataset"] == context.title(dataset)) & (table["model"] == context.label(pair[0]))]
    return {(int(r.attention == "local"), r.train_size): r.mean_psnr_gap_db for r in same.itertuples()}


def _mean(table: pd.DataFrame, model: str, sizes: list[int]) -> np.ndarray:
    return table[table["model"] == model].groupby("train_size")["value"].mean().reindex(sizes).to_numpy()


def _spread(table: pd.DataFrame, model: str, sizes: list[int]) -> np.ndarray | None:
    spread = table[table["model"] == model].groupby("train_size")["value"].std().reindex(sizes)
    return None if spread.isna().all() else spread.to_numpy()


def _caption(context: Context, gaps: pd.DataFrame) -> str:
    several = gaps["shuffle"].nunique() > 1
    caption = (
        f"Average PSNR gap over the step indices (lower is better), baseline hatched, dashed line at its height; "
        f"{context.shuffles(gaps)}{', whiskers are one standard deviation' if several else ''}. Under each pair the test "
        f"PSNR of baseline | variant: underfitting also lowers the gap. {context.scope}"
    )
    printed = context.printed("psnr_gap_local_attention")
    titles = {context.title(d) for d in set(gaps["dataset"])}
    labels = {context.label(m) for m in set(gaps["model"])}
    if len(printed) and len(rows := printed[printed["dataset"].isin(titles) & printed["model"].isin(labels)]):
        wide = rows.pivot_table(
            index=["model", "dataset", "train_size"], columns="attention", values="mean_psnr_gap_db"
        )
        cells = [
            f"{' '.join(map(str, i))}: {r['global']:.2f} -> {r['local']:.2f}" for i, r in wide.iterrows()
        ]
        caption += f" Diamonds: the paper's numbers; it prints {'; '.join(cells)}."
    return caption

"""Figure A7: does local attention still help where locality was destroyed? Original against permuted pixels."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bench.report.context import Context
from bench.report.items import Item
from bench.report.style import HATCH, PALETTE, count, legend, panels

ITEM = Item(
    title="Figure A7",
    subject="Pixel-permutation control",
    measures=("psnr",),
)

BAR = 0.38


def draw(context: Context) -> tuple[Figure, str]:
    """Draw, for each dataset and its permuted twin, what windows change: gap on the left, test PSNR on the right."""
    gaps, tests = context.rows("psnr_gap_mean"), context.rows("psnr_mean", split="test")
    twins = _twins(context, set(gaps["dataset"]))
    if not twins:
        raise context.needs(
            "a dataset and the same with its pixels permuted",
            instead="add disks-16-permuted beside disks-16 under `runs`",
        )
    pairs = context.pairs(gaps, local=True)
    both = {(d, m) for d, m in gaps[["dataset", "model"]].itertuples(index=False)}
    shown = [(t, p) for t in twins for p in pairs if all((d, m) in both for d in t for m in p)]
    if not shown:
        raise context.needs("a model and its baseline on both of them", instead="add both under `runs`")
    figure, axes = panels(2 * len(shown), 2, 1.75)
    for (twin, pair), left, right in zip(shown, axes[::2], axes[1::2]):
        _bars(left, context, gaps, twin, pair)
        _bars(right, context, tests, twin, pair)
        name = context.plan["models"][pair[1]]["variant"] or context.label(pair[1])
        left.set_title(f"{context.title(twin[0])}, {context.label(pair[0])}: gap, {name} minus baseline")
        right.set_title("test PSNR, the same difference")
        left.set_ylabel("difference of gaps (dB) ←")
        right.set_ylabel("difference (dB) →")
    legend(figure)
    gains = "; ".join(_gains(context, gaps, twin, pair) for twin, pair in shown)
    whiskers = ", whiskers are one standard deviation" if gaps["shuffle"].nunique() > 1 else ""
    return figure, (
        "What local attention changes, on images as they are and with one fixed permutation of their pixels (hatched): "
        "differences of paired runs with the same images, initialisation and noise; "
        f"{context.shuffles(gaps)}{whiskers}. "
        "If the gain vanishes on permuted pixels, it comes from locality in the images; if it stays, from restricted "
        f"capacity; where there is none on the originals, the control has nothing to explain. The gap (clipped at 0 per "
        f"step) changes by, original against permuted: {gains}. {context.scope}"
    )


def _twins(context: Context, present: set[str]) -> list[tuple[str, str]]:
    """Return (dataset, permuted dataset) of those in the table: the titles agree but for ``, permuted``."""
    titles = {context.title(name): name for name in context.plan["datasets"] if name in present}
    return [(titles[t], titles[f"{t}, permuted"]) for t in titles if f"{t}, permuted" in titles]


def _differences(
    context: Context, table: pd.DataFrame, dataset: str, pair: tuple[str, str]
) -> pd.Series | None:
    """Return second minus first of a pair, by N and shuffle."""
    own = context.paired(table[table["dataset"] == dataset], pair)
    if not len(own):
        return None
    wide = own.pivot_table(index=["train_size", "shuffle"], columns="model", values="value")
    return wide[pair[1]] - wide[pair[0]]


def _gains(context: Context, gaps: pd.DataFrame, twin: tuple[str, str], pair: tuple[str, str]) -> str:
    """Return the mean change of the gap at each N, on the originals and permuted, in words."""
    first, second = (_differences(context, gaps, dataset, pair) for dataset in twin)
    means = [d.groupby("train_size").mean() for d in (first, second)]
    sizes = means[0].index.intersection(means[1].index)
    return ", ".join(f"{means[0][n]:+.2f} against {means[1][n]:+.2f} dB at N = {n:,}" for n in sizes)


def _bars(
    ax: Axes, context: Context, table: pd.DataFrame, twin: tuple[str, str], pair: tuple[str, str]
) -> None:
    sizes = context.ordered(context.paired(table[table["dataset"].isin(twin)], pair), "train_size")
    for side, dataset in enumerate(twin):
        difference = _differences(context, table, dataset, pair)
        if difference is None:
            continue
        difference = difference.groupby("train_size")
        mean, spread = (v.reindex(sizes) for v in (difference.mean(), difference.std()))
        ax.bar(
            np.arange(len(sizes)) + (side - 0.5) * BAR, mean, BAR, label=("original", "pixels permuted")[side],
            yerr=None if spread.isna().all() else spread, error_kw={"linewidth": 0.7}, edgecolor=PALETTE[side],
            color="white" if side else PALETTE[0], hatch=HATCH if side else None, linewidth=0.8,
        )  # fmt: skip
    ax.axhline(0, color="0.2", linewidth=0.7)
    ax.set_xticks(range(len(sizes)), [f"N = {count(n)}" for n in sizes])
    ax.grid(axis="x", visible=False)

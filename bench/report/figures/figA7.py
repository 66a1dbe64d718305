"""Pixel-permutation control.

Differences of paired runs with the same images, initialisation and noise; the gap is clipped at 0 per step. If the
gain vanishes on permuted pixels, it comes from locality in the images; if it stays, from restricted capacity; if
there is none on the originals, the control has nothing to explain.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bench.report.context import Context
from bench.report.items import Item
from bench.report.paired import Change, change
from bench.report.style import HATCH, PALETTE, legend, letter, panels, size
from bench.results.tidy import at

ITEM = Item("Figure A7", measures=("psnr",))
BAR = 0.38


def draw(context: Context) -> tuple[Figure, str]:
    """Draw, for each dataset and its permuted twin, what windows change: gap on the left, test PSNR on the right."""
    gaps, tests = context.rows("psnr_gap_mean"), context.rows("psnr_mean", split="test")
    twins = _twins(context, {*gaps["dataset"]})
    if not twins:
        how = "add disks-16-permuted beside disks-16 under `runs`"
        raise context.needs("a dataset and its twin with pixels permuted", instead=how)
    both = {(d, m) for d, m in gaps[["dataset", "model"]].itertuples(index=False)}
    pairs = context.pairs(gaps, local=True)
    shown = [(t, p) for t in twins for p in pairs if all((d, m) in both for d in t for m in p)]
    if not shown:
        raise context.needs("a model and its baseline on both of them", instead="add both under `runs`")
    figure, axes = panels(2 * len(shown), 2, 1.95)
    found = []
    for place, ((twin, pair), left, right) in enumerate(zip(shown, axes[::2], axes[1::2])):
        found.append(_bars(left, context, gaps, twin, pair))
        _bars(right, context, tests, twin, pair)
        name = f"{context.title(twin[0])}, {context.label(pair[0])}"
        left.set_title(letter(place, f"{name}: {context.variant(pair[1])} minus baseline"), fontsize=7)
        left.set_ylabel("difference of PSNR gaps (dB) ↓")
        right.set_ylabel("difference of test PSNR (dB) ↑")
    legend(figure)
    several = gaps["shuffle"].nunique() > 1
    whiskers = ", whiskers are the paired 95 % interval over shuffles" if several else ""
    return figure, (
        "What local attention changes, on original images and with one fixed permutation of their pixels "
        f"(hatched); {context.shuffles(gaps)}{whiskers}. The gap changes by, original against permuted: "
        f"{'; '.join(map(_in_words, found))}.{context.windows_of(m for _, pair in shown for m in pair)}"
    )


def _twins(context: Context, present: set[str]) -> list[tuple[str, str]]:
    """Return (dataset, permuted dataset) of those in the table: the titles agree except ``, permuted``."""
    titles = {context.title(name): name for name in context.plan["datasets"] if name in present}
    return [(titles[t], titles[f"{t}, permuted"]) for t in titles if f"{t}, permuted" in titles]


def _bars(
    ax: Axes, context: Context, table: pd.DataFrame, twin: tuple[str, str], pair: tuple[str, str]
) -> dict[int, list[Change]]:
    """Draw the differences on both datasets by N, where both were measured; return them."""
    first, second = (context.paired(at(table, dataset=dataset), pair) for dataset in twin)
    sizes = context.ordered(first[first["train_size"].isin(second["train_size"])], "train_size")
    found = {n: [change(at(table, dataset=dataset, train_size=n), pair) for dataset in twin] for n in sizes}
    for side, name in enumerate(("original", "pixels permuted")):
        intervals = [own[side].interval for own in found.values()]
        half = [own.half() if own.count > 1 else np.nan for own in intervals]
        look = {
            "color": "white" if side else PALETTE[0],
            "hatch": HATCH if side else None,
            "edgecolor": PALETTE[side],
        }
        error = None if np.isnan(half).all() else half
        places = np.arange(len(sizes)) + (side - 0.5) * BAR
        ax.bar(places, [own.mean for own in intervals], BAR, yerr=error, label=name, linewidth=0.8, **look)
    ax.axhline(0, color="0.2", linewidth=0.7)
    ax.set_xticks(range(len(sizes)), [size(n) for n in sizes])
    ax.grid(axis="x", visible=False)
    return found


def _in_words(found: dict[int, list[Change]]) -> str:
    parts = [(n, *(own.interval.mean for own in sides)) for n, sides in found.items()]
    return ", ".join(f"{a:+.3f} against {b:+.3f} dB at {size(n)}".replace("-", "−") for n, a, b in parts)

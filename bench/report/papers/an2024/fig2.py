"""PSNR and PSNR gap by step.

A gap that shrinks with N while test PSNR rises is generalization; a gap that shrinks with low test PSNR is
underfitting. Grey lines are closed forms: a network should beat the linear filter on test images, and the gap of the
identity, which learns nothing, is the noise floor of a gap that is clipped at 0 per step.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from bench.report.context import Context
from bench.report.curves import STEP_AXIS, Line, band, controls, draw_line
from bench.report.items import Item
from bench.report.style import MARKERS, PALETTE, new_figure, share_y, size
from bench.results.tidy import at

ITEM = Item(
    "Figure 2",
    measures=("psnr",),
    counterpart="UNet and DiT-XS/1 on CelebA, N = 1,000, 10,000 and 100,000, three shuffles, 300 images",
)
PANELS = (
    ("(a) Train PSNR (dB)", "psnr", "train"),  # no arrow: a network that memorises has a high one
    ("Test PSNR (dB) ↑", "psnr", "test"),
    ("(b) PSNR gap (dB) ↓", "psnr_gap", "train-test"),
)
LEAST_STEPS = 20  # for an inset
LEAST_ZOOM = 1.4  # in both directions
# of the inset in its panel, and its distance to curves
LEFT, WIDE, LEAST, HIGH, CLEAR = 0.5, 0.47, 0.25, 0.4, 0.04
# parts of the steps that are enlarged: the first that is flat enough
FRAMES = (0.12, 0.3), (0.16, 0.26), (0.24, 0.32)


def draw(context: Context) -> tuple[Figure, str]:
    """Draw a row of panels for each dataset and model; the rows of one dataset share their scales."""
    table = context.rows("psnr", split="test")
    sizes = context.sizes(table, 4)
    table = table[table["train_size"].isin(sizes)]
    rows = [(dataset, model) for dataset, model, _ in context.groups(table, "dataset", "model")]
    figure = new_figure(1.55 * len(rows) + 0.35)
    axes = figure.subplots(len(rows), 3, squeeze=False, sharex=True)
    shown: dict = {}
    greys: dict = {}
    lines: dict = {}
    for (title, *_), top, bottom in zip(PANELS, axes[0], axes[-1]):
        top.set_title(title)
        bottom.set_xlabel(STEP_AXIS)
    for row, (dataset, model) in zip(axes, rows):
        for ax, (_, metric, split) in zip(row, PANELS):
            own = context.rows(metric, dataset=dataset, model=model, split=split)
            shown[ax] = own[own["train_size"].isin(sizes)]
            grey = controls(context, metric, dataset=dataset, split=split)
            for line in grey:
                draw_line(ax, line)
            greys[ax] = ax.lines[: len(grey)]
            lines |= {line.label: drawn for line, drawn in zip(grey, greys[ax])}
            _curves(ax, context, shown[ax], sizes)
        row[0].set_ylabel(f"{context.label(model)}\n{context.title(dataset)}")
    for dataset in dict.fromkeys(dataset for dataset, _ in rows):
        own = np.stack([row for row, (name, _) in zip(axes, rows) if name == dataset])
        share_y(own[:, :2].ravel(), room=_legend_room(len(sizes)))
        share_y(own[:, 2], low=0, room=_legend_room(len(sizes)))
    for ax, curves in shown.items():
        _zoom(ax, curves, sizes, greys[ax])
    if lines:
        figure.legend(lines.values(), lines.keys(), loc="outside lower center", ncols=3)
    return figure, _caption(context, table, sizes)


def _curves(ax: Axes, context: Context, table: pd.DataFrame, sizes: list[int]) -> None:
    handles = []
    for number, n in enumerate(sizes):
        curve = at(table, train_size=n)
        if len(curve):
            mean = curve.groupby("shuffle")["value"].mean().mean()
            word = context.mark(curve["model"].iloc[0], curve["dataset"].iloc[0], n)
            draw_line(ax, Line(curve, f"{size(n)}, Avg {mean:.2f}{word}", number, marker=number), every=5)
            handles.append(ax.lines[-1])
    ax.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    ax.legend(handles=handles, loc="upper right", handlelength=1.4, borderpad=0.3, labelspacing=0.25)


def _legend_room(lines: int) -> float:
    """Return the part of a panel's height that a legend of this many lines takes."""
    return 0.08 + 0.1 * lines


def _ends(table: pd.DataFrame) -> tuple[pd.Series, pd.Series]:
    """Return the lower and upper ends of the bands by N and step; both are the mean where one shuffle was run."""
    values = table.groupby(["train_size", "index"])["value"]
    spread = values.std().fillna(0)
    return values.mean() - spread, values.mean() + spread


def _framed(
    ax: Axes, table: pd.DataFrame, n: int, part: tuple[float, float]
) -> tuple[float, float, float, float] | None:
    """Return x from and to, y from and to of what is enlarged: a part of the steps around the curve of N = ``n``."""
    steps = table["index"].max() + 1
    left, right = int(part[0] * steps), int(part[1] * steps)
    near = table[(table["train_size"] == n) & table["index"].between(left, right)]
    if steps < LEAST_STEPS or not len(near):
        return None
    lower, upper = (end(values) for end, values in zip((min, max), _ends(near)))
    margin = 0.1 * (upper - lower) + 0.02 * np.ptp(ax.get_ylim())
    return left, right, max(lower - margin, ax.get_ylim()[0]), upper + margin


def _place(ax: Axes, table: pd.DataFrame, lines: int) -> tuple[float, float]:
    """Return the lower end and the height of an inset that lies on no curve, band or legend."""
    (left, right), (bottom, top) = ax.get_xlim(), ax.get_ylim()
    behind = table[table["index"] >= left + (LEFT - CLEAR) * (right - left)]
    low = max(CLEAR, (_ends(behind)[1].max() - bottom) / (top - bottom) + CLEAR)
    return low, min(HIGH, 1 - _legend_room(lines) - low)


def _zoom(ax: Axes, table: pd.DataFrame, sizes: list[int], greys: Sequence[Line2D]) -> None:
    """Draw an inset around the curve of the largest N (of the gap: the one before), where it enlarges in both directions."""
    gap, (low, high) = table["metric"].iloc[0] == "psnr_gap", _place(ax, table, len(sizes))
    n = sizes[max(len(sizes) - 2, 0)] if gap else sizes[-1]
    for part in FRAMES:
        framed = _framed(ax, table, n, part)
        if framed is None or high < LEAST:
            return
        left, right, lower, upper = framed
        parts = (right - left) / np.ptp(ax.get_xlim()), (upper - lower) / np.ptp(ax.get_ylim())
        if min(WIDE / parts[0], high / parts[1]) >= LEAST_ZOOM:
            break
    else:
        return
    inset = ax.inset_axes((LEFT, low, WIDE, high))
    ends = _ends(table)
    for position, own in enumerate(sizes):
        if own not in set(table["train_size"]):
            continue
        below, above = (end[own] for end in ends)
        look = {"color": PALETTE[position], "marker": MARKERS[position], "markeredgewidth": 0}
        inset.plot(below.index, (below + above) / 2, **look)
        if (above > below).any():
            inset.fill_between(
                below.index.astype(int), below, above, color=PALETTE[position], alpha=0.3, lw=0
            )
    for line in greys:
        inset.plot(
            *line.get_data(), color=line.get_color(), linestyle=line.get_linestyle(), linewidth=1, zorder=3
        )
    inset.set(xlim=(left, right), ylim=(lower, upper), xticks=[], yticks=[])
    ax.indicate_inset_zoom(inset, edgecolor="0.2", linewidth=0.6, alpha=0.9)


def _caption(context: Context, table: pd.DataFrame, sizes: list[int]) -> str:
    images = int(table["protocol"].iloc[0].split(";")[0].removeprefix("images="))
    few = [f"{n:,}" for n in sizes if n < images]
    again = f" (at N = {' and '.join(few)} the train images repeat with fresh noise)" if few else ""
    return (
        f"Train and test PSNR of the one-step x0 estimate on {images} images each{again} (a) and the gap "
        f"between them, clipped at 0 per step (b); {context.shuffles(table)}{band(table)}; Avg is the mean over "
        "steps, which clipping makes larger than the difference of the two means. Grey: linear filter of the whole pool "
        f"(dashed), noisy image itself (dotted). {_finding(context, sizes)}{_printed(context, table)}"
    )


def _finding(context: Context, sizes: list[int]) -> str:
    """Return the mean gap of each model at the smallest and the largest N, on the first dataset."""
    gaps = context.rows("psnr_gap")
    dataset = context.ordered(gaps, "dataset")[0]
    own = at(gaps, dataset=dataset)
    here = own.loc[own["train_size"].isin(sizes), "train_size"]
    ends = dict.fromkeys((here.min(), here.max()))
    found = own.groupby(["train_size", "model", "shuffle"])["value"].mean().groupby(level=[0, 1]).mean()
    parts = [
        f"at {size(int(n))} "
        + ", ".join(
            f"{context.label(m)} {found[n, m]:.2f} dB"
            for m in context.ordered(at(own, train_size=n), "model")
        )
        for n in ends
    ]
    return f"Mean gap on {context.title(dataset)}: {'; '.join(parts)}."


def _printed(context: Context, table: pd.DataFrame) -> str:
    printed = context.printed("Figure 2")
    if not {*printed["dataset"]} & {context.title(d) for d in set(table["dataset"])}:
        return ""
    values = printed.pivot_table(index=["model", "train_size"], columns="split", values="value", sort=False)
    cells = [
        f"{m}, {size(n)}: {r['train']:.2f} / {r['test']:.2f} / {r['train-test']:.2f}"
        for (m, n), r in values.iterrows()
    ]
    return f" The paper prints (train / test / gap): {'; '.join(cells)}."

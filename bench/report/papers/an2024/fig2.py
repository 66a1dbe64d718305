"""Figure 2: PSNR on train and test images and their gap, against the step index."""

from __future__ import annotations

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from bench.report.context import Context
from bench.report.curves import band
from bench.report.items import Item
from bench.report.style import MARKERS, PALETTE, count, new_figure

ITEM = Item(
    title="Figure 2",
    subject="PSNR and PSNR gap by step",
    measures=("psnr",),
    counterpart="UNet and DiT-XS/1 on CelebA, N = 1,000, 10,000 and 100,000, three shuffles, 300 images",
)

PANELS = (
    ("Train PSNR (dB) →", "psnr", "train"),
    ("Test PSNR (dB) →", "psnr", "test"),
    ("PSNR gap (dB) ←", "psnr_gap", "train-test"),
)

LEAST_STEPS = 20  # for an inset
LEAST_ZOOM = 1.4  # in both directions
LEFT, WIDE, HIGH, CLEAR = 0.5, 0.47, 0.28, 0.04  # of the inset in its panel, and its distance to curves


def draw(context: Context) -> tuple[Figure, str]:
    """Draw a row of panels for each dataset and model; the rows of one dataset share their scales."""
    table = context.rows("psnr", split="test")
    datasets, sizes = context.ordered(table, "dataset"), context.ordered(table, "train_size")
    rows = [(d, m) for d in datasets for m in context.ordered(table[table["dataset"] == d], "model")]
    figure = new_figure(1.55 * len(rows) + 0.15)
    axes = figure.subplots(len(rows), 3, squeeze=False, sharex=True)
    for ax, (title, *_) in zip(axes[0], PANELS):
        ax.set_title(title)
    curves = {}
    for row, (dataset, model) in zip(axes, rows):
        for ax, (_, metric, split) in zip(row, PANELS):
            curves[ax] = context.rows(metric, dataset=dataset, model=model, split=split)
            _panel(ax, curves[ax], sizes)
        row[0].set_ylabel(f"{context.label(model)}\n{context.title(dataset)}")
    for dataset in datasets:
        own = np.stack([row for row, (name, _) in zip(axes, rows) if name == dataset])
        _share(own[:, :2].ravel(), len(sizes))
        _share(own[:, 2], len(sizes), low=0)
    for ax, table_here in curves.items():
        _zoom(ax, table_here, sizes)
    for ax in axes[-1]:
        ax.set_xlabel("Step index (0: least noise)")
    return figure, _caption(context, table)


def _panel(ax: Axes, table: pd.DataFrame, sizes: list[int]) -> None:
    for position, size in enumerate(sizes):
        curve = table[table["train_size"] == size]
        if not len(curve):
            continue
        mean = curve.groupby("shuffle")["value"].mean().mean()
        sns.lineplot(
            x=curve["index"].astype(int),
            y=curve["value"],
            ax=ax,
            errorbar="sd" if curve["shuffle"].nunique() > 1 else None,  # over shuffles
            color=PALETTE[position],
            marker=MARKERS[position],
            markevery=5,
            markeredgewidth=0,
            label=f"N = {count(size)}, Avg {mean:.2f}",
        )
    ax.set_xlabel("")
    ax.set_ylabel("")
    ax.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    ax.legend(loc="upper right", handlelength=1.4, borderpad=0.3, labelspacing=0.25)


def _legend_room(lines: int) -> float:
    """Return the part of a panel's height that a legend of this many lines takes."""
    return 0.05 + 0.1 * lines


def _share(axes: np.ndarray, lines: int, low: float | None = None) -> None:
    """Give panels one y scale that leaves room for their legends above the curves."""
    low = min(ax.get_ylim()[0] for ax in axes) if low is None else low
    high = max(low + 0.1, *(ax.get_ylim()[1] for ax in axes))
    for ax in axes:
        ax.set_ylim(low, low + (high - low) / (1 - _legend_room(lines)))


def _ends(table: pd.DataFrame) -> tuple[pd.Series, pd.Series]:
    """Return the lower and upper ends of the bands by N and step; both are the mean where one shuffle was run."""
    values = table.groupby(["train_size", "index"])["value"]
    spread = values.std().fillna(0)
    return values.mean() - spread, values.mean() + spread


def _framed(ax: Axes, table: pd.DataFrame, sizes: list[int]) -> tuple[float, float, float, float] | None:
    """Return x from and to, y from and to of what is enlarged: the steps that the paper enlarges, around the curve of
    the largest N (of the gap: the one before)."""
    steps = table["index"].max() + 1
    gap = table["metric"].iloc[0] == "psnr_gap"
    shown = sizes[max(len(sizes) - 2, 0)] if gap else sizes[-1]
    left, right = int(0.12 * steps), int(0.3 * steps)
    near = table[(table["train_size"] == shown) & table["index"].between(left, right)]
    if steps < LEAST_STEPS or not len(near):
        return None
    lower, upper = (end(values) for end, values in zip((min, max), _ends(near)))
    margin = 0.1 * (upper - lower) + 0.02 * (ax.get_ylim()[1] - ax.get_ylim()[0])
    return left, right, lower - margin, upper + margin


def _place(ax: Axes, table: pd.DataFrame, lines: int) -> float | None:
    """Return the lower end of an inset that lies on no curve, band or legend; None where there is no room."""
    (left, right), (bottom, top) = ax.get_xlim(), ax.get_ylim()
    behind = table[table["index"] >= left + (LEFT - CLEAR) * (right - left)]
    low = max(CLEAR, (_ends(behind)[1].max() - bottom) / (top - bottom) + CLEAR)
    return low if low + HIGH <= 1 - _legend_room(lines) else None


def _zoom(ax: Axes, table: pd.DataFrame, sizes: list[int]) -> None:
    """Draw an inset where there is room for one that enlarges in both directions."""
    framed, low = _framed(ax, table, sizes), _place(ax, table, len(sizes))
    if framed is None or low is None:
        return
    left, right, lower, upper = framed
    parts = (right - left) / np.ptp(ax.get_xlim()), (upper - lower) / np.ptp(ax.get_ylim())
    if min(WIDE / parts[0], HIGH / parts[1]) < LEAST_ZOOM:
        return
    inset = ax.inset_axes((LEFT, low, WIDE, HIGH))
    ends = _ends(table)
    for position, size in enumerate(sizes):
        if size not in set(table["train_size"]):
            continue
        below, above = (end[size] for end in ends)
        colour = PALETTE[position]
        inset.plot(
            below.index, (below + above) / 2, color=colour, marker=MARKERS[position], markeredgewidth=0
        )
        if (above > below).any():
            inset.fill_between(below.index.astype(int), below, above, color=colour, alpha=0.3, lw=0)
    inset.set(xlim=(left, right), ylim=(lower, upper), xticks=[], yticks=[])
    ax.indicate_inset_zoom(inset, edgecolor="0.2", linewidth=0.6, alpha=0.9)


def _caption(context: Context, table: pd.DataFrame) -> str:
    images = int(table["protocol"].iloc[0].split(";")[0].removeprefix("images="))
    few = [count(size) for size in context.ordered(table, "train_size") if size < images]
    again = f" (at N = {' and '.join(few)} the train images repeat with fresh noise)" if few else ""
    caption = (
        f"PSNR of the one-step x0 estimate on {images} train{again} and {images} test images and the gap between "
        f"them (clipped at 0 per step), {context.shuffles(table)}, {band(table)}; Avg is the mean over steps; rows of one "
        "dataset share their scales; insets, where there is room, enlarge the framed steps. A gap that shrinks with N "
        "while test PSNR rises is generalization; "
        f"a gap that shrinks with low test PSNR is underfitting. {context.scope}"
    )
    printed = context.printed("Figure 2")
    if len(printed) and "CelebA" in {context.title(d) for d in set(table["dataset"])}:
        values = printed.pivot_table(
            index=["model", "train_size"], columns="split", values="value", sort=False
        )
        cells = [
            f"{model} N={size:,}: {row['train']:.2f} / {row['test']:.2f} / {row['train-test']:.2f}"
            for (model, size), row in values.iterrows()
        ]
        caption += f" The paper prints (train / test / gap, CelebA): {'; '.join(cells)}."
    return caption

"""Figure 2: PSNR on train and test images and their gap, against the step index."""

from __future__ import annotations

import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from bench.report.context import Context
from bench.report.style import MARKERS, PALETTE, count, new_figure

PANELS = (
    ("Train PSNR (dB) →", "psnr", "train", "Avg"),
    ("Test PSNR (dB) →", "psnr", "test", "Avg"),
    ("PSNR gap (dB) ←", "psnr_gap", "train-test", "Avg gap"),
)

LEAST_STEPS = 20  # for an inset
PLACE = (0.53, 0.29, 0.45, 0.28)  # of the inset in its panel


def draw(context: Context) -> tuple[Figure, str]:
    """Draw a row of panels for each dataset and model."""
    table = context.rows("psnr", split="test")
    rows = [
        (dataset, model)
        for dataset in context.ordered(table, "dataset")
        for model in context.ordered(table[table["dataset"] == dataset], "model")
    ]
    figure = new_figure(1.55 * len(rows) + 0.15)
    axes = figure.subplots(len(rows), 3, squeeze=False, sharex=True)
    sizes = context.ordered(table, "train_size")
    for ax, (title, *_) in zip(axes[0], PANELS):
        ax.set_title(title)
    for row, (dataset, model) in zip(axes, rows):
        for ax, (_, metric, split, word) in zip(row, PANELS):
            _panel(ax, context.rows(metric, dataset=dataset, model=model, split=split), sizes, word)
        row[0].set_ylabel(f"{context.label(model)}\n{context.title(dataset)}")
        low = min(ax.get_ylim()[0] for ax in row[:2])
        high = max(ax.get_ylim()[1] for ax in row[:2])
        for ax in row[:2]:
            ax.set_ylim(low, high + (0.12 + 0.08 * len(sizes)) * (high - low))  # room for the legend
        row[2].set_ylim(
            0, (1.25 + 0.15 * len(sizes)) * max(row[2].get_ylim()[1], 0.1)
        )  # room for the legend above the curves
        for ax, (_, metric, split, _) in zip(row, PANELS):
            _zoom(ax, context.rows(metric, dataset=dataset, model=model, split=split), sizes, split)
    for ax in axes[-1]:
        ax.set_xlabel("Step index (0: least noise)")
    return figure, _caption(context, table)


def _panel(ax: Axes, table: pd.DataFrame, sizes: list[int], word: str) -> None:
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
            label=f"N = {count(size)}, {word} {mean:.2f}",
        )
    ax.set_xlabel("")
    ax.set_ylabel("")
    ax.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    ax.legend(loc="upper right", handlelength=1.4, borderpad=0.3, labelspacing=0.25)


def _zoom(ax: Axes, table: pd.DataFrame, sizes: list[int], split: str) -> None:
    """Enlarge the steps that the paper enlarges, around the curve of the largest N (of the gap: the one before)."""
    steps = table["index"].max() + 1
    if steps < LEAST_STEPS:
        return
    low, high = int(0.12 * steps), int(0.3 * steps)
    behind = (
        table[table["index"] >= (PLACE[0] - 0.05) * steps].groupby(["train_size", "index"])["value"].mean()
    )
    bottom, top = ax.get_ylim()
    if behind.max() > bottom + PLACE[1] * (top - bottom):
        return  # it would lie on the curves
    inset = ax.inset_axes(PLACE)
    near = table[table["index"].between(low - 1, high + 1)]
    for position, size in enumerate(sizes):
        values = near[near["train_size"] == size].groupby("index")["value"]
        mean, spread = values.mean(), values.std()
        inset.plot(mean.index, mean, color=PALETTE[position], marker=MARKERS[position], markeredgewidth=0)
        if spread.notna().any():
            inset.fill_between(
                mean.index, mean - spread, mean + spread, color=PALETTE[position], alpha=0.3, lw=0
            )
    shown = sizes[max(len(sizes) - 2, 0)] if split == "train-test" else sizes[-1]
    curve = near[(near["train_size"] == shown) & near["index"].between(low, high)]["value"]
    if not len(curve):
        inset.remove()
        return
    margin = 0.15 * (curve.max() - curve.min()) + 0.05
    inset.set(xlim=(low, high), ylim=(curve.min() - margin, curve.max() + margin), xticks=[], yticks=[])
    ax.indicate_inset_zoom(inset, edgecolor="0.2", linewidth=0.6, alpha=0.9)


def _caption(context: Context, table: pd.DataFrame) -> str:
    band = (
        "bands are one standard deviation over shuffles"
        if table["shuffle"].nunique() > 1
        else "one shuffle, no band"
    )
    images = table["protocol"].iloc[0].split(";")[0].removeprefix("images=")
    caption = (
        f"PSNR of the one-step x0 estimate on {images} train and {images} test images and the gap between them "
        f"(clipped at 0 per step), {context.shuffles(table)}, {band}; insets, where there is room, enlarge the "
        "framed steps. A gap that shrinks with N while test PSNR rises is generalization; "
        f"a gap that shrinks with low test PSNR is underfitting. {context.scope}"
    )
    printed = context.printed("psnr_unet_vs_dit")
    if len(printed) and "CelebA" in {context.title(d) for d in set(table["dataset"])}:
        cells = [
            f"{row.model} N={row.train_size:,}: {row.mean_train_psnr_db:.2f} / "
            f"{row.mean_test_psnr_db:.2f} / {row.mean_psnr_gap_db:.2f}"
            for row in printed.itertuples()
        ]
        caption += f" The paper prints (train / test / gap, CelebA): {'; '.join(cells)}."
    return caption

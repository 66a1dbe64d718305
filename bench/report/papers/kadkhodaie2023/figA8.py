"""Figure A8: PSNR of the estimate against PSNR of the noisy image, as Kadkhodaie et al. 2024 draw it."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bench.report.context import Context
from bench.report.curves import band, curve
from bench.report.items import Item
from bench.report.style import count, label_rows, legend, panels

ITEM = Item(
    title="Figure A8",
    subject="PSNR against input noise, with C-alpha slopes",
    arrays=("psnr",),
    measures=("psnr",),
)

MOST = 48.0  # dB that are drawn: a memoriser reaches the rounding of uint8 on its own images
RANGE = (5.0, 30.0)  # dB of input PSNR that the slope is fitted to


def draw(context: Context) -> tuple[Figure, str]:
    """Draw a panel for each dataset and model; colours are N, train PSNR is dotted."""
    table = context.rows("psnr", split="test")
    train = context.rows("psnr", split="train")
    shown = [
        (d, m)
        for d in context.ordered(table, "dataset")
        for m in context.ordered(table[table["dataset"] == d], "model")
    ]
    figure, axes = panels(len(shown), 3, 1.85)
    top = 2 + min(MOST, max(table["value"].max(), train[train["index"] > 0]["value"].max()))
    slopes = []
    for ax, (dataset, model) in zip(axes, shown):
        here, seen = (t[(t["dataset"] == dataset) & (t["model"] == model)] for t in (table, train))
        noise = _input_psnr(context, here)
        for number, size in enumerate(context.ordered(here, "train_size")):
            name = f"N = {count(size)}"
            for rows, dash, split in ((here, 0, "test"), (seen, 2, "train")):
                own = rows[rows["train_size"] == size]
                own = own.assign(input=noise[own["index"].astype(int)])
                curve(ax, own, "input", f"{name}, {split}", number, dash)
        slopes.append(_slope(ax, context, dataset, model, here, noise))
        _frame(ax, noise, top)
        ax.set_title(f"{context.title(dataset)}, {context.label(model)}")
    label_rows(axes, "PSNR of the estimate (dB) →")
    legend(figure)
    return figure, (
        "PSNR of the one-step estimate, clipped to [-1, 1], against that of the noisy image, which is not; the thin grey "
        "line is the noisy image itself. An optimal denoiser of C-alpha images gains in a straight line of slope "
        f"alpha / (alpha + 1) (Kadkhodaie et al. 2024). "
        f"Slopes of the largest N between {RANGE[0]:g} and {RANGE[1]:g} dB: {'; '.join(slopes)}; black: the optimal "
        f"slope through the middle of the fit. A slope says nothing of the height: a denoiser far below the optimum can be "
        f"steeper. "
        f"{context.shuffles(table)}, {band(table)}. {context.scope}"
    )


def _input_psnr(context: Context, rows: pd.DataFrame) -> np.ndarray:
    """Return the PSNR in dB of x_t / sqrt(abar_t) at each step index, from the noise levels kept with the run."""
    first = rows.iloc[0]
    arrays = context.arrays(
        "psnr", first["dataset"], first["model"], int(first["train_size"]), int(first["shuffle"])
    )
    if "sigma" not in arrays:
        raise context.needs("the noise levels of the step indices (`sigma` in psnr.npz)", "psnr")
    return 10 * np.log10(4 / arrays["sigma"] ** 2)


def _slope(
    ax: Axes, context: Context, dataset: str, model: str, table: pd.DataFrame, noise: np.ndarray
) -> str:
    """Fit the largest N; of a family with a known optimum, draw the optimal slope beside it."""
    largest = table[table["train_size"] == table["train_size"].max()]
    curve_ = largest.groupby("index")["value"].mean()
    x = noise[curve_.index.to_numpy(dtype=int)]
    inside = (x >= RANGE[0]) & (x <= RANGE[1])
    name = f"{context.title(dataset)}, {context.label(model)}"
    if inside.sum() < 2:
        return f"{name}: fewer than two levels there"
    fitted = np.polyfit(x[inside], curve_.to_numpy()[inside], 1)
    text = f"{name} {fitted[0] + 0.0:.2f}"
    alpha = (context.plan["datasets"][dataset].get("parameters") or {}).get("alpha")
    if alpha is None:
        return text
    optimal, middle = alpha / (alpha + 1), float(np.mean(RANGE))
    ends = np.array(RANGE)
    ax.plot(
        ends, np.polyval(fitted, middle) + optimal * (ends - middle), color="black", linewidth=0.8,
        label=f"slope {optimal:.2f}, optimal",
    )  # fmt: skip
    return f"{text} (optimal {optimal:.2f})"


def _frame(ax: Axes, noise: np.ndarray, top: float) -> None:
    low, high = -10.0, min(45.0, float(noise.max()))
    ax.plot([low, high], [low, high], color="0.6", linewidth=0.7, label="the noisy image")
    ax.set_xlim(low, high)
    ax.set_ylim(5, top)
    ax.set_xlabel("PSNR of the noisy image (dB)")

"""PSNR against input noise, with C-alpha slopes.

The curve of an optimal denoiser of C-alpha images is a straight line of slope alpha / (alpha + 1). A slope says nothing
about the PSNR itself: a denoiser far below the optimum can be steeper. The estimate is clipped to [-1, 1], the noisy image
is not.
"""

from __future__ import annotations

import textwrap

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bench.report.context import Context
from bench.report.curves import Line, Panel, band, grid
from bench.report.items import Item
from bench.report.style import GREY, legend, size
from bench.results.tidy import at

ITEM = Item("Figure A8", arrays=("psnr",), measures=("psnr",))
MOST = 4  # panels
NARROW = 20  # letters of a title line
TOP = 48.0  # dB that are drawn: a memoriser reaches the rounding of uint8 on its own images
RANGE = (5.0, 30.0)  # dB of input PSNR that the slope is fitted to


def draw(context: Context) -> tuple[Figure, str]:
    """Draw a panel for each network, on as many datasets as there is room for; colours are N, train PSNR is dotted."""
    tests, trains = context.rows("psnr", split="test"), context.rows("psnr", split="train")
    networks = context.networks(tests)
    shown = [(d, m) for d, m, _ in context.groups(tests, "dataset", "model") if m in networks][:MOST]
    panels, slopes = [], []
    optimal: dict = {}
    sizes = context.ordered(tests, "train_size")
    for place, (dataset, model) in enumerate(shown):
        here, seen = (at(table, dataset=dataset, model=model) for table in (tests, trains))
        noise = _input_psnr(context, here)
        signs = context.marks(model, dataset, context.ordered(here, "train_size"))
        name = f"{context.label(model)}\n" if len({m for _, m in shown}) > 1 else ""
        title = f"{name}{textwrap.fill(context.title(dataset), NARROW)}{signs}"
        panel = Panel(title, "PSNR of the estimate\n(dB) ↑")
        for n in context.ordered(here, "train_size"):
            number = sizes.index(n)
            for rows, dash, split in ((here, 0, "test"), (seen, 2, "train")):
                own = at(rows, train_size=n)
                panel.lines.append(
                    Line(
                        own.assign(input=noise[own["index"].astype(int)]), f"{size(n)}, {split}", number, dash
                    )
                )
        linear = context.control("psnr", "wiener", dataset=dataset, split="test")
        linear = at(linear, train_size=linear["train_size"].max())
        if len(linear):
            name = context.label(linear["model"].iloc[0])
            panel.lines.append(
                Line(linear.assign(input=noise[linear["index"].astype(int)]), f"{name}, test", GREY, 1)
            )
        slopes.append(_slope(context, dataset, model, here, noise, optimal, place))
        panels.append(panel)
    figure, axes = grid(panels, 3, 2.3, "PSNR of the noisy image (dB)", x="input", share="all")
    for place, ax in enumerate(axes):
        _frame(ax, float(noise.max()), optimal.get(place))
    top = max(tests["value"].max(), trains[trains["index"] > 0]["value"].max())
    axes[0].set_ylim(5, 2 + min(TOP, top))
    figure.legends[0].remove()
    legend(figure)
    fitted = " Black: the optimal slope through the middle of the fit." if optimal else ""
    return figure, (
        "PSNR of the one-step estimate against that of the noisy image; the thin grey line is the noisy image "
        f"itself; {context.shuffles(tests)}{band(tests)}. Slope at the largest N between {RANGE[0]:g} and "
        f"{RANGE[1]:g} dB: {'; '.join(slopes)}.{fitted}"
    )


def _input_psnr(context: Context, rows: pd.DataFrame) -> np.ndarray:
    """Return the PSNR in dB of x_t / sqrt(abar_t) at each step index, from the noise levels kept with the run."""
    first = rows.iloc[0]
    run = (first["dataset"], first["model"], int(first["train_size"]), int(first["shuffle"]))
    arrays = context.arrays("psnr", *run)
    if "sigma" not in arrays:
        raise context.needs("the noise levels of the step indices (`sigma` in psnr.npz)", "psnr")
    return 10 * np.log10(4 / arrays["sigma"] ** 2)


def _slope(
    context: Context,
    dataset: str,
    model: str,
    table: pd.DataFrame,
    noise: np.ndarray,
    optimal: dict,
    place: int,
) -> str:
    """Fit the largest N; return the slope in words, of a family with a known optimum as its distance to that.

    ``optimal`` gets the ends of the optimal line of the panel.
    """
    curve = at(table, train_size=table["train_size"].max()).groupby("index")["value"].mean()
    x = noise[curve.index.to_numpy(dtype=int)]
    inside = (x >= RANGE[0]) & (x <= RANGE[1])
    name = f"{context.label(model)} on {context.title(dataset)}"
    if inside.sum() < 2:
        return f"{name}: fewer than two noise levels in that range"
    fitted = np.polyfit(x[inside], curve.to_numpy()[inside], 1)
    alpha = (context.plan["datasets"][dataset].get("parameters") or {}).get("alpha")
    if alpha is None:
        return f"{name} {fitted[0]:.2f}"
    best, middle, ends = alpha / (alpha + 1), float(np.mean(RANGE)), np.array(RANGE)
    optimal[place] = (best, ends, np.polyval(fitted, middle) + best * (ends - middle))
    beyond = fitted[0] - best
    word = "steeper" if beyond > 0 else "flatter"
    return f"{name} {fitted[0]:.2f}, {abs(beyond):.2f} {word} than the optimum {best:.2f}"


def _frame(ax: Axes, loudest: float, optimal: tuple | None) -> None:
    if optimal is not None:
        slope, ends, heights = optimal
        ax.plot(ends, heights, color="black", linewidth=0.8, label=f"slope {slope:.2f}, optimal")
    low, high = -10.0, min(45.0, loudest)
    ax.plot([low, high], [low, high], color="0.6", linewidth=0.7, label="the noisy image")
    ax.set_xlim(low, high)

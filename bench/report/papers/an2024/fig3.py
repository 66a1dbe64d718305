"""Jacobian eigenvectors and spectra at small and large N.

Each eigenvector is scaled to its own largest entry, red positive, blue negative, colour channels framed. A
memorising network has a few large eigenvalues. The paper does not say which Jacobian it decomposes, so the spectra
of the x0 estimate and of the noise prediction are both drawn where both were measured; ranks k start at 0.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from matplotlib.ticker import MaxNLocator

from bench.report.context import Context
from bench.report.curves import LOOKS, noise, size_of
from bench.report.items import Item
from bench.report.papers.an2024.eigenvectors import (
    WORDS,
    Arrays,
    draw_images,
    draw_vectors,
    key,
    negative,
    noise_step,
    ranks_of,
    values_of,
    withheld,
)  # fmt: skip
from bench.report.style import DASHES, PALETTE, SMALL, letter, new_figure, share_y, size, turned
from bench.results.tidy import at

ITEM = Item(
    "Figure 3",
    arrays=("jacobian",),
    measures=("jacobian", "cost"),
    counterpart="UNet and DiT-XS/1 on CelebA, N = 10 and 100,000",
)
SHOWN = 2  # eigenvectors, as in the paper
SYMBOLS = {"x0": "x̂₀", "eps": "ε̂"}
ABREAST = 3  # models


def draw(context: Context) -> tuple[Figure, str]:
    """Draw blocks on the first dataset whose pictures may be shown: columns are models, rows the listed or extreme N."""
    every = context.runs("jacobian_eigenvalue")
    dataset, passed = context.pictured(every)
    runs = at(every, dataset=dataset)
    models, sizes = context.networks(runs)[:ABREAST], context.sizes(runs, 2)
    runs = runs[runs["train_size"].isin(sizes)]
    loaded = {
        (run.model, run.train_size): context.arrays(
            "jacobian", dataset, run.model, int(run.train_size), int(run.shuffle)
        )
        for model in models
        for run in at(runs, model=model).sort_values("train_size").itertuples()
    }
    figure = new_figure(1.4 * len(sizes) + 0.35)
    heights = [1.4] * len(sizes)
    heights[0] += 0.35
    grid = figure.subfigures(
        len(sizes), len(models), squeeze=False, height_ratios=heights, wspace=0.02, hspace=0.02
    )
    operator, total = context.options["operator"], size_of(context, dataset)
    spectra: list[Axes] = []
    for n, line in zip(sizes, grid):
        for place, (part, model) in enumerate(zip(line, models)):
            if n == sizes[0]:
                part.suptitle(
                    letter(place, f"{context.label(model)}{_cost(context, dataset, model)}"), fontsize=7.5
                )
            if (model, n) not in loaded:
                part.text(0.5, 0.5, f"{size(n)}: not measured", ha="center", color="0.4", fontsize=SMALL)
            else:
                left = turned(f"{size(n)}{context.mark(model, dataset, n)}")
                spectrum = _block(
                    part,
                    loaded[model, n],
                    operator,
                    context.plan["datasets"][dataset]["channels"],
                    left,
                    total,
                )
                spectra.append(spectrum)
    share_y(spectra)
    return figure, _caption(context, every, dataset, passed, loaded, operator, total)


def _block(part: SubFigure, arrays: Arrays, operator: str, channels: int, left: str, total: int) -> Axes:
    """Draw images, eigenvectors and the spectrum of a network; return the axes of the spectrum."""
    if "images" in arrays:
        axes = part.subplots(SHOWN, channels + 2, width_ratios=[1] * (channels + 1) + [1.9], squeeze=False)
        draw_images(axes[:, 0], arrays)
        draw_vectors(axes[:, 1 : channels + 1], arrays, operator)
        for ax in axes[:, -1]:
            ax.remove()
        spectrum = part.add_subplot(axes[0, -1].get_gridspec()[:, -1])
        axes[0, 0].set_ylabel(left, fontsize=7.5)
    else:  # its licence lets no picture through
        spectrum = part.subplots()
        spectrum.set_ylabel(left, fontsize=7.5)
    _spectrum(spectrum, arrays, total)
    return spectrum


def _spectrum(ax: Axes, arrays: Arrays, total: int) -> None:
    """Draw the spectra of all operators that were measured; of a leading part the axis begins at 0 and says so."""
    for operator, symbol in SYMBOLS.items():
        values = values_of(arrays, operator)
        if not len(values):
            continue
        look, whole = LOOKS[operator], len(values) == total
        ax.plot(values, color=PALETTE[look], linestyle=DASHES[look], marker=None if whole else "o")
        place = int((0.3 + 0.35 * look) * len(values))
        at_, offset = (place, values[place]), (3, 3)
        ax.annotate(symbol, at_, offset, textcoords="offset points", color=PALETTE[look])
        if not whole:
            ax.set_ylim(min(0.0, *values), 1.25 * max(values.max(), ax.get_ylim()[1] / 1.25))
        ax.set_title("λₖ" if whole else f"λₖ, {len(values)} of {total:,}", fontsize=SMALL, pad=2)
    ax.set_xlabel("k", labelpad=1)
    ax.xaxis.set_major_locator(MaxNLocator(3, integer=True))
    ax.margins(y=0.14)


def _cost(context: Context, dataset: str, model: str) -> str:
    """Return multiply-adds of one image and parameters as the paper prints them, or nothing if they were not measured."""
    table = at(context.tidy, dataset=dataset, model=model)
    found = table[table["metric"].isin(["parameters", "macs"])].groupby("metric")["value"].first()
    if len(found) < 2:
        return ""
    return f"\nmultiply-adds: {_unit(found['macs'])}; parameters: {_unit(found['parameters'])}"


def _unit(value: float) -> str:
    """Return a count with three digits in a unit that fits."""
    for unit, letter_ in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= unit:
            return f"{value / unit:.{max(0, 2 - int(np.log10(value / unit)))}f} {letter_}"
    return f"{value:.0f}"


def _asymmetry(context: Context, operator: str) -> str:
    if not context.has("jacobian_asymmetry"):
        return ""
    table = context.rows("jacobian_asymmetry")
    values = table[table["protocol"].str.startswith(f"operator={operator}")]["value"]
    return (
        " The Jacobians are not symmetric: |J − Jᵀ| / |J| (Frobenius norms) is "
        f"{values.min():.2f} to {values.max():.2f} over all runs."
        if len(values)
        else ""
    )


def _caption(
    context: Context,
    every: pd.DataFrame,
    dataset: str,
    passed: list[str],
    loaded: dict,
    operator: str,
    total: int,
) -> str:
    arrays, own = next(iter(loaded.values())), every[every["dataset"].isin(passed)]
    counts = {len(values_of(a, operator)) for a in loaded.values()}
    values = "all eigenvalues" if counts == {total} else f"the {max(counts)} leading eigenvalues"
    operators = [WORDS[name] for name in SYMBOLS if len(values_of(arrays, name))]
    models = " and ".join(context.label(model) for model in dict.fromkeys(model for model, _ in loaded))
    named = {
        f"{context.label(m)}, {size(n)},": (a, ranks_of(a, SHOWN))
        for (m, n), a in loaded.items()
        if "images" in a
    }
    leading = "; ".join(
        f"{context.label(m)}, {size(n)}: {values_of(a, operator)[0]:.3g}" for (m, n), a in loaded.items()
    )
    return (
        f"{models} on {context.title(dataset)}, one test image, {noise(context, noise_step(arrays))}: eigenvectors "
        f"of the symmetric part of the Jacobian of the {WORDS[operator]}, and {values} of that of the "
        f"{' and that of the '.join(operators)}; {key(context.plan['datasets'][dataset]['channels'])}. "
        f"Leading eigenvalue λ₀: {leading}.{_asymmetry(context, operator)}{negative(named, operator)}"
        f"{withheld(context, own[own['train_size'].isin(context.sizes(own, 2))], operator, 1)}"
    )

"""Jacobian eigenvectors of three denoisers.

Each eigenvector is scaled to its own largest entry, red positive, blue negative, colour channels framed; λ with
index k is the eigenvalue of rank k, the largest has index 0. Harmonic patterns that follow the image's edges would
be geometry-adaptive harmonic bases. The paper does not say which Jacobian it decomposes.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from bench.report.context import Context
from bench.report.curves import noise
from bench.report.items import Item
from bench.report.papers.an2024.eigenvectors import (
    WORDS,
    Arrays,
    draw_images,
    draw_vectors,
    eigenvalue,
    key,
    negative,
    noise_step,
    ranks_of,
    values_of,
    withheld,
)  # fmt: skip
from bench.report.style import CHANNELS, SMALL, letter, new_figure, size
from bench.results.tidy import at
from bench.support.errors import BenchError

ITEM = Item(
    "Figure 1",
    arrays=("jacobian",),
    measures=("jacobian",),
    counterpart="a one-channel UNet, a UNet and a DiT on CelebA",
)
SHOWN = 3  # eigenvectors, as in the paper
SIDE, WIDEST = 0.66, 10  # inches of a line of pictures; pictures abreast
NARROW = 6  # pictures abreast; a figure of fewer keeps room at its right
MOST = 12  # models
ORDER = (
    "bf-cnn",
    "bf-unet",
    "unet",
    "adm",
)  # families before all others: one-channel UNets, UNets, transformers


def draw(context: Context) -> tuple[Figure, str]:
    """Draw a block for each listed model, else for each that is no variant, on its first dataset that may be shown."""
    runs = context.runs("jacobian_eigenvalue")
    models = context.networks(runs)
    if not context.options["models"]:
        models = [m for m in models if not context.plan["models"][m]["baseline"]] or models
        families = {m: context.plan["models"][m]["family"] for m in models}
        models.sort(key=lambda m: ORDER.index(families[m]) if families[m] in ORDER else len(ORDER))
    if len(models) > MOST:
        raise BenchError(
            f"{context.item} shows at most {MOST} models, not {len(models)}; name them in the suite's items."
        )
    blocks = [_choose(context, runs, model) for model in models]
    channels = [context.plan["datasets"][run.dataset]["channels"] for run, _ in blocks]
    rows = min(SHOWN, max(2, *(len(ranks_of(arrays, SHOWN)) for _, arrays in blocks)))
    lines = _lines([run.dataset for run, _ in blocks], channels)
    figure = new_figure(len(lines) * (SIDE * rows + 0.65))
    for line, own in zip(figure.subfigures(len(lines), 1, squeeze=False)[:, 0], lines):
        widths = [width for _, width in own]
        empty = [WIDEST - sum(widths)] if len(lines) > 1 or sum(widths) < NARROW else []
        empty = [width for width in empty if width]
        for part, (place, width) in zip(
            line.subfigures(1, len(own) + len(empty), width_ratios=widths + empty, squeeze=False)[0], own
        ):
            run, arrays = blocks[place]
            name = letter(
                place, context.label(run.model) + context.mark(run.model, run.dataset, run.train_size)
            )
            part.suptitle(f"{name}\n{size(int(run.train_size))}", fontsize=7.5)
            _block(
                part.subplots(rows, width, squeeze=False),
                arrays,
                context.options["operator"],
                channels[place],
            )
    return figure, _caption(context, runs, blocks, context.options["operator"])


def _choose(context: Context, runs: pd.DataFrame, model: str) -> tuple[Any, Arrays]:
    """Return the run of a model that is shown, at its largest N, and its arrays."""
    dataset, _ = context.pictured(own := at(runs, model=model))
    run = next(at(own, dataset=dataset).sort_values("train_size").iloc[[-1]].itertuples())
    return run, context.arrays("jacobian", dataset, model, int(run.train_size), int(run.shuffle))


def _lines(datasets: list[str], channels: list[int]) -> list[list[tuple[int, int]]]:
    """Return (place of a block, pictures abreast) line by line; the first of a dataset in a line has the images too."""
    lines: list[list[tuple[int, int]]] = [[]]
    for place, (dataset, width) in enumerate(zip(datasets, channels)):
        repeated = any(datasets[other] == dataset for other, _ in lines[-1])
        if lines[-1] and sum(own for _, own in lines[-1]) + width + (not repeated) > WIDEST:
            lines.append([])
            repeated = False
        lines[-1].append((place, width + (not repeated)))
    return lines


def _block(axes: np.ndarray, arrays: Arrays, operator: str, channels: int) -> None:
    vectors = axes[:, -channels:]
    if "images" in arrays:
        draw_images(axes[:2, 0] if len(axes[0]) > channels else (), arrays)
        draw_vectors(vectors, arrays, operator)
    else:
        for row, rank in zip(vectors, ranks_of(arrays, SHOWN)):
            row[channels // 2].set_title(eigenvalue(rank, values_of(arrays, operator)[rank]), fontsize=SMALL)
        vectors[1, channels // 2].text(
            0.5, 0.5, "withheld by licence", ha="center", va="center", fontsize=SMALL, color="0.4"
        )
    for ax in axes.ravel():
        if not ax.images:
            ax.set_axis_off()
    if "images" in arrays and channels == 3 and len(axes) > 2 and len(axes[0]) > 3:
        for place, (name, shade) in enumerate(zip("RGB", CHANNELS)):
            axes[2, 0].text(
                0.2 + 0.3 * place, 0.5, name, color=shade, ha="center", va="center", weight="bold"
            )


def _caption(context: Context, runs: pd.DataFrame, blocks: list, operator: str) -> str:
    named = {}
    places: dict = {}
    for place, (run, arrays) in enumerate(blocks):
        named[letter(place)] = (arrays, ranks_of(arrays, SHOWN))
        places.setdefault(context.title(run.dataset), []).append(
            f"{letter(place)} {context.label(run.model)}"
        )
    where = "; ".join(f"{', '.join(names)} on {title}" for title, names in places.items())
    step = noise(context, noise_step(blocks[0][1]))
    channels = [context.plan["datasets"][run.dataset]["channels"] for run, _ in blocks]
    leading = [f"{letter(p)} {values_of(arrays, operator)[0]:.3g}" for p, (_, arrays) in enumerate(blocks)]
    return (
        f"{where}, {step}: clean and noisy test image and {SHOWN} eigenvectors of the symmetric part of the "
        f"Jacobian of the {WORDS[operator]}; {key(max(channels))}. Leading eigenvalues: "
        f"{', '.join(leading)}.{negative(named, operator)}{_passed_over(context, runs, operator)}"
    )


def _passed_over(context: Context, runs: pd.DataFrame, operator: str) -> str:
    """Return the eigenvalues on a dataset whose pictures may not be redistributed, if another is shown instead."""
    own = [at(runs, dataset=dataset).sort_values("train_size") for dataset in context.pictured(runs)[1]]
    last = [table.drop_duplicates("model", keep="last") for table in own]
    return withheld(context, pd.concat([runs[:0], *last]), operator, SHOWN)

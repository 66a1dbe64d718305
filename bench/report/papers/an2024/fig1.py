"""Figure 1: three leading eigenvectors of the Jacobian of each model, at its largest N."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from bench.report.context import Context
from bench.report.curves import noise
from bench.report.items import Item
from bench.report.papers.an2024.fig3 import WORDS, noise_step
from bench.report.style import CHANNELS, count, new_figure, picture, withheld

ITEM = Item(
    title="Figure 1",
    subject="Jacobian eigenvectors of three denoisers",
    arrays=("jacobian",),
    measures=("jacobian",),
    counterpart="a one-channel UNet, a UNet and a DiT on CelebA",
)

SHOWN = 3  # eigenvectors, as in the paper


def draw(context: Context) -> tuple[Figure, str]:
    """Draw a block for each model, on the first dataset of the item."""
    runs = context.runs("jacobian_eigenvalue")
    dataset = context.ordered(runs, "dataset")[0]
    runs = runs[runs["dataset"] == dataset].sort_values("train_size").drop_duplicates("model", keep="last")
    models, operator = context.ordered(runs, "model"), context.options["operator"]
    found = [runs[runs["model"] == model].iloc[0] for model in models]
    loaded = [
        context.arrays("jacobian", dataset, r["model"], int(r["train_size"]), int(r["shuffle"]))
        for r in found
    ]
    channels = context.plan["datasets"][dataset]["channels"]
    figure = new_figure(min(5.3 / (len(models) * (channels + 1)), 0.8) * SHOWN + 0.75)
    blocks = figure.subfigures(1, len(models), squeeze=False, wspace=0.03)[0]
    for block, run, arrays in zip(blocks, found, loaded):
        block.suptitle(f"{context.label(run['model'])}, N = {count(int(run['train_size']))}", fontsize=8)
        if "images" in arrays:
            _block(block, arrays, operator)
        else:
            withheld(block.subplots())
    return figure, _caption(context, dataset, models, loaded[0])


def _caption(context: Context, dataset: str, models: list[str], arrays: dict[str, np.ndarray]) -> str:
    where = f"{context.title(dataset)}, {noise(context, noise_step(arrays))}"
    return (
        f"{', '.join(map(context.label, models))} on {where}: clean and noisy test image and three eigenvectors of the "
        f"symmetric part of the Jacobian of the {WORDS[context.options['operator']]}, each coloured to its own largest "
        "entry, red positive, blue negative, colour channels framed; λ_k is the eigenvalue of rank k, the largest is λ_0. "
        "Harmonic patterns that follow the image's edges would be geometry-adaptive harmonic bases. "
        f"The paper does not say which Jacobian it decomposes. {context.scope}"
    )


def _block(block, arrays: dict[str, np.ndarray], operator: str) -> None:
    step = noise_step(arrays)
    vectors, indices = arrays[f"eigenvectors_{operator}_{step}_0"][:SHOWN], arrays["vectors"]
    values, channels = arrays[f"eigenvalues_{operator}_{step}_0"], vectors.shape[-1]
    axes = block.subplots(SHOWN, channels + 1, squeeze=False)
    for ax, name, image in zip(
        axes[:, 0], ("clean", "noisy"), (arrays["images"][0], arrays[f"noisy_{step}"][0])
    ):
        picture(ax, image, cmap="gray", vmin=0, vmax=255)
        ax.set_title(name, fontsize=6.5, pad=2)
    for ax in (*axes[2:, 0], *axes[len(vectors) :, 1:].ravel()):
        ax.set_axis_off()
    for row, vector, index in zip(axes, vectors, indices):
        top = np.abs(vector).max()
        for channel, ax in enumerate(row[1:]):
            picture(
                ax,
                vector[..., channel],
                CHANNELS[channel] if channels == 3 else None,
                cmap="RdBu_r",
                vmin=-top,
                vmax=top,
            )
        row[1 + channels // 2].set_title(
            rf"$\lambda_{{{index}}}$ = {values[index]:#.3g}", fontsize=6.5, pad=2
        )

"""Figure 3: leading eigenvectors and spectra of the Jacobian, at small and large N."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bench.report.context import Context
from bench.report.style import CHANNELS, PALETTE, count, new_figure, picture, withheld

SHOWN = 2  # eigenvectors, as in the paper
PAPER_STEP = 7  # of 50, recovered from the noise that its Fig. 3 shows


def draw(context: Context) -> tuple[Figure, str]:
    """Draw, for each dataset, a grid of blocks: rows are N, columns are models."""
    runs = context.runs("jacobian_eigenvalue")
    datasets, sizes = context.ordered(runs, "dataset"), context.ordered(runs, "train_size")
    models = context.ordered(runs, "model")
    figure = new_figure(1.45 * len(sizes) * len(datasets) + 0.1)
    grid = figure.subfigures(len(datasets) * len(sizes), len(models), squeeze=False, wspace=0.02, hspace=0.02)
    operator = context.options["operator"]
    for row, (dataset, size) in zip(grid, ((d, n) for d in datasets for n in sizes)):
        for block, model in zip(row, models):
            found = runs[
                (runs["dataset"] == dataset) & (runs["model"] == model) & (runs["train_size"] == size)
            ]
            if len(found):
                run = (dataset, model, int(size), int(found["shuffle"].iloc[0]))
                _block(block, context, run, operator, len(datasets) > 1)
    return figure, _caption(context, operator)


def _block(
    block, context: Context, run: tuple[str, str, int, int], operator: str, name_dataset: bool
) -> None:
    dataset, model, size, _ = run
    arrays = context.arrays("jacobian", *run)
    step, shown = noise_step(arrays), "images" in arrays
    channels = context.plan["datasets"][dataset]["channels"]
    where = f"{context.title(dataset)}, " if name_dataset else ""
    cost = "" if name_dataset else _cost(context, dataset, model)  # no room for both
    block.suptitle(f"{where}{context.label(model)}, N = {count(size)}{cost}", fontsize=7.5)
    axes = block.subplots(SHOWN, channels + 2, width_ratios=[1] * (channels + 1) + [1.9], squeeze=False)
    if shown:
        _pictures(axes, arrays, operator, step)
    else:
        for ax in axes[:, :-1].ravel():
            withheld(ax)
    _spectrum(axes, block, arrays, step)


def noise_step(arrays: dict[str, np.ndarray]) -> int:
    """Return the noise level that is shown: of those measured, the nearest to the paper's, least noise first."""
    steps = {int(key.split("_")[2]) for key in arrays if key.startswith("eigenvalues_")}
    return min(sorted(steps), key=lambda step: abs(step - PAPER_STEP))


def _pictures(axes: np.ndarray, arrays: dict[str, np.ndarray], operator: str, step: int) -> None:
    """Draw the clean and the noisy image, and the eigenvectors channel by channel."""
    vectors = arrays[f"eigenvectors_{operator}_{step}_0"][:SHOWN]
    values, indices = arrays[f"eigenvalues_{operator}_{step}_0"], arrays["vectors"]
    channels = vectors.shape[-1]
    for ax, image, title in zip(
        axes[:, 0], (arrays["images"][0], arrays[f"noisy_{step}"][0]), ("clean", "noisy")
    ):
        picture(ax, image, cmap="gray", vmin=0, vmax=255)
        ax.set_title(title, fontsize=6.5, pad=2)
    for row, (vector, index) in enumerate(zip(vectors, indices)):
        top = np.abs(vector).max()
        for channel in range(channels):
            ax = axes[row, channel + 1]
            frame = CHANNELS[channel] if channels == 3 else None
            picture(ax, vector[..., channel], frame, cmap="RdBu_r", vmin=-top, vmax=top)
            if channel == channels // 2:
                ax.set_title(rf"$\lambda_{{{index}}}$ = {values[index]:.2g}", fontsize=6.5, pad=2)


def _cost(context: Context, dataset: str, model: str) -> str:
    """Return parameters and multiply-adds in words, or nothing where they were not measured."""
    table = context.tidy[(context.tidy["dataset"] == dataset) & (context.tidy["model"] == model)]
    found = table[table["metric"].isin(["parameters", "macs"])].groupby("metric")["value"].first()
    if len(found) < 2:
        return ""
    return f" ({found['parameters'] / 1e6:.3g} M param., {found['macs'] / 1e9:.3g} GMAC)"


def _spectrum(axes: np.ndarray, block, arrays: dict[str, np.ndarray], step: int) -> None:
    """Draw both operators' spectra in the last column."""
    gridspec = axes[0, -1].get_gridspec()
    for ax in axes[:, -1]:
        ax.remove()
    ax: Axes = block.add_subplot(gridspec[:, -1])
    for position, (operator, dash) in enumerate((("x0", "-"), ("eps", "--"))):
        if (values := arrays.get(f"eigenvalues_{operator}_{step}_0")) is not None:
            name = r"$\hat x_0$" if operator == "x0" else r"$\hat\epsilon$"
            ax.plot(values, dash, color=PALETTE[position])
            place = int((0.3 + 0.35 * position) * len(values))
            ax.annotate(
                name,
                (place, values[place]),
                (3, 3),
                textcoords="offset points",
                color=PALETTE[position],
            )
    ax.set_xlabel("k", labelpad=1)
    ax.set_title(r"$\lambda_k$", fontsize=6.5, pad=2)
    ax.margins(y=0.14)


def _caption(context: Context, operator: str) -> str:
    name = "x0 estimate" if operator == "x0" else "noise prediction"
    table = (
        context.rows("jacobian_asymmetry") if (context.tidy["metric"] == "jacobian_asymmetry").any() else None
    )
    asymmetry = ""
    if table is not None:
        values = table[table["protocol"].str.startswith(f"operator={operator}")]["value"]
        asymmetry = (
            f" The Jacobians are not symmetric: |J - J^T| / |J| is {values.min():.2f} to {values.max():.2f}."
        )
    return (
        f"Eigenvectors (red positive, blue negative; colour channels framed) and eigenvalues of the symmetric part of the "
        f"Jacobian of the {name}, at one test image and one noise level; the spectra of both operators on the right. The "
        f"paper does not say which Jacobian it decomposes.{asymmetry} {context.scope}"
    )

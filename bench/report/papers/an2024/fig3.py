"""Figure 3: leading eigenvectors and spectra of the Jacobian, at small and large N."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from bench.report.context import Context
from bench.report.curves import DASHES, noise, paper_step
from bench.report.items import Item
from bench.report.style import CHANNELS, PALETTE, count, new_figure, picture

ITEM = Item(
    title="Figure 3",
    subject="Jacobian eigenvectors and spectra at small and large N",
    arrays=("jacobian",),
    measures=("jacobian", "cost"),
    counterpart="UNet and DiT-XS/1 on CelebA, N = 10 and 100,000",
)

SHOWN = 2  # eigenvectors, as in the paper
LOOKS = {"x0": 0, "eps": 1, "denoiser": 2}  # colour and dash of an operator
SYMBOLS = {"x0": r"$\hat x_0$", "eps": r"$\hat\epsilon$"}
WORDS = {"x0": "x0 estimate (x̂0)", "eps": "noise prediction (ε̂)"}


def draw(context: Context) -> tuple[Figure, str]:
    """Draw, for each dataset, a grid of blocks: rows are N, columns are models."""
    runs = context.runs("jacobian_eigenvalue")
    datasets, sizes = context.ordered(runs, "dataset"), context.ordered(runs, "train_size")
    models = context.ordered(runs, "model")
    rows = [(dataset, size) for dataset in datasets for size in sizes]
    loaded = _load(context, runs)
    open_sets = {dataset for (dataset, *_), arrays in loaded.items() if "images" in arrays}
    heights = [1.45 if dataset in open_sets else 1.35 for dataset, _ in rows]
    figure = new_figure(sum(heights) + 0.1)
    options = {"height_ratios": heights, "squeeze": False, "wspace": 0.02, "hspace": 0.02}
    grid = figure.subfigures(len(rows), len(models), **options)
    operator = context.options["operator"]
    for line, (dataset, size) in zip(grid, rows):
        for block, model in zip(line, models):
            if (run := (dataset, model, size)) in loaded:
                _block(block, context, run, loaded[run], operator, len(datasets) > 1)
    return figure, _caption(context, operator, loaded, [d for d in datasets if d not in open_sets])


def _load(context: Context, runs: pd.DataFrame) -> dict[tuple[str, str, int], dict[str, np.ndarray]]:
    """Return dataset, model, N -> arrays."""
    columns = zip(runs["dataset"], runs["model"], runs["train_size"].astype(int), runs["shuffle"].astype(int))
    return {run[:3]: context.arrays("jacobian", *run) for run in columns}


def _block(
    block, context: Context, run: tuple[str, str, int], arrays: dict, operator: str, name_dataset: bool
) -> None:
    dataset, model, size = run
    step = noise_step(arrays)
    channels = context.plan["datasets"][dataset]["channels"]
    where = f"{context.title(dataset)}, " if name_dataset else ""
    cost = "" if name_dataset else _cost(context, dataset, model)  # no room for both
    block.suptitle(f"{where}{context.label(model)}, N = {count(size)}{cost}", fontsize=7.5)
    if "images" in arrays:
        axes = block.subplots(SHOWN, channels + 2, width_ratios=[1] * (channels + 1) + [1.9], squeeze=False)
        _pictures(axes, arrays, operator, step)
        for ax in axes[:, -1]:
            ax.remove()
        _spectrum(block.add_subplot(axes[0, -1].get_gridspec()[:, -1]), arrays, step)
    else:  # its licence lets no picture through
        _spectrum(block.subplots(), arrays, step)


def noise_step(arrays: dict[str, np.ndarray]) -> int:
    """Return the noise level that is shown, of those whose arrays there are."""
    return paper_step(int(key.split("_")[2]) for key in arrays if key.startswith("eigenvalues_"))


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
                ax.set_title(rf"$\lambda_{{{index}}}$ = {values[index]:#.3g}", fontsize=6.5, pad=2)


def _cost(context: Context, dataset: str, model: str) -> str:
    """Return parameters and multiply-adds in words, or nothing where they were not measured."""
    table = context.tidy[(context.tidy["dataset"] == dataset) & (context.tidy["model"] == model)]
    found = table[table["metric"].isin(["parameters", "macs"])].groupby("metric")["value"].first()
    if len(found) < 2:
        return ""
    return f" ({found['parameters'] / 1e6:.3g} M param., {found['macs'] / 1e9:.3g} GMAC)"


def _spectrum(ax: Axes, arrays: dict[str, np.ndarray], step: int) -> None:
    """Draw the spectra of all operators that were measured."""
    for operator, symbol in SYMBOLS.items():
        if (values := arrays.get(f"eigenvalues_{operator}_{step}_0")) is None:
            continue
        look = LOOKS[operator]
        ax.plot(values, color=PALETTE[look], linestyle=DASHES[look])
        place = int((0.3 + 0.35 * look) * len(values))
        at, offset = (place, values[place]), (3, 3)
        ax.annotate(symbol, at, offset, textcoords="offset points", color=PALETTE[look])
    ax.set_xlabel("k", labelpad=1)
    ax.set_title(r"$\lambda_k$", fontsize=6.5, pad=2)
    ax.xaxis.set_major_locator(MaxNLocator(3, integer=True))
    ax.margins(y=0.14)


def _leading(arrays: dict[str, np.ndarray], pixels: int) -> str:
    """Return which eigenvalues the spectra show, in words."""
    count = max(len(values) for key, values in arrays.items() if key.startswith("eigenvalues_"))
    return "all eigenvalues" if count == pixels else f"the {count} leading eigenvalues"


def _asymmetry(context: Context, operator: str) -> str:
    if not (context.tidy["metric"] == "jacobian_asymmetry").any():
        return ""
    table = context.rows("jacobian_asymmetry")
    values = table[table["protocol"].str.startswith(f"operator={operator}")]["value"]
    return f" The Jacobians are not symmetric: |J - J^T| / |J| is {values.min():.2f} to {values.max():.2f}."


def _caption(context: Context, operator: str, loaded: dict, withheld: list[str]) -> str:
    (dataset, *_), arrays = next(iter(loaded.items()))
    step, info = noise_step(arrays), context.plan["datasets"][dataset]
    values = _leading(arrays, info["resolution"] ** 2 * info["channels"])
    operators = [WORDS[name] for name in SYMBOLS if f"eigenvalues_{name}_{step}_0" in arrays]
    shown = pd.DataFrame([*loaded], columns=["dataset", "model", "train_size"])
    models = " and ".join(map(context.label, context.ordered(shown, "model")))
    titles = " and ".join(map(context.title, context.ordered(shown, "dataset")))
    lacking = (
        f" Images and eigenvectors of {', '.join(map(context.title, withheld))} are withheld by licence."
    )
    return (
        f"{models} on {titles}, one test image, {noise(context, step)}: eigenvectors of the "
        f"symmetric part of the Jacobian of the {WORDS[operator]}, each coloured to its own largest entry (red positive, "
        f"blue negative; colour channels framed), and {values}, k from 0, of the {' and the '.join(operators)}. The "
        f"paper does not say which Jacobian it decomposes.{_asymmetry(context, operator)}"
        f"{lacking if withheld else ''} {context.scope}"
    )

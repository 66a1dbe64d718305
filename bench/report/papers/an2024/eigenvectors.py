"""What Figures 1 and 3 share: eigenvectors of a Jacobian as pictures, channel by channel."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from bench.report.context import Context
from bench.report.curves import shown_step
from bench.report.style import CHANNELS, SMALL, picture, size, subscript

WORDS = {"x0": "x0 estimate (x̂₀)", "eps": "noise prediction (ε̂)"}
Arrays = dict[str, np.ndarray]


def noise_step(arrays: Arrays) -> int:
    """Return the noise level that is shown, of those with arrays."""
    return shown_step(int(key.split("_")[2]) for key in arrays if key.startswith("eigenvalues_"))


def values_of(arrays: Arrays, operator: str) -> np.ndarray:
    """Return the eigenvalues that are shown, largest first; empty if the operator was not measured."""
    return (
        arrays.get(f"eigenvalues_{operator}_{noise_step(arrays)}_0", np.array([])) if arrays else np.array([])
    )


def ranks_of(arrays: Arrays, count: int) -> list[int]:
    """Return the ranks of the eigenvectors that are shown."""
    return [int(rank) for rank in arrays.get("vectors", [])][:count]


def eigenvalue(rank: int, value: float) -> str:
    """Return an eigenvalue with its rank, "λ₁₁₂ = 0.193"."""
    return f"λ{subscript(rank)} = {value:#.3g}".replace("-", "−")


def draw_images(axes: Iterable[Axes], arrays: Arrays) -> None:
    """Show the clean and the noisy image."""
    names = (("clean", "images"), ("noisy", f"noisy_{noise_step(arrays)}"))
    for ax, (name, key) in zip(axes, names):
        picture(ax, arrays[key][0], cmap="gray", vmin=0, vmax=255)
        ax.set_title(name, fontsize=SMALL, pad=2)


def draw_vectors(rows: np.ndarray, arrays: Arrays, operator: str) -> None:
    """Show an eigenvector in each row of axes, channel by channel, under its eigenvalue."""
    step, values = noise_step(arrays), values_of(arrays, operator)
    for axes, vector, rank in zip(
        rows, arrays[f"eigenvectors_{operator}_{step}_0"], ranks_of(arrays, len(rows))
    ):
        top = np.abs(vector).max()
        for channel, ax in enumerate(axes):
            frame = CHANNELS[channel] if len(axes) == 3 else None
            picture(ax, vector[..., channel], frame, cmap="RdBu_r", vmin=-top, vmax=top)
        axes[len(axes) // 2].set_title(eigenvalue(rank, values[rank]), fontsize=SMALL, pad=2)


def negative(shown: dict[str, tuple[Arrays, list[int]]], operator: str) -> str:
    """Return a sentence on the negative ones of the eigenvalues shown; empty if there are none."""
    found = [
        f"{name} {eigenvalue(rank, values_of(arrays, operator)[rank])}"
        for name, (arrays, ranks) in shown.items()
        for rank in ranks
        if values_of(arrays, operator)[rank] < 0
    ]
    if not found:
        return ""
    why = (
        "the optimal estimate has none, as its Jacobian is proportional to a posterior covariance" if operator == "x0" else
        "there the x0 estimate grows faster than the noisy image"
    )  # fmt: skip
    return f" Negative eigenvalues ({'; '.join(found)}): {why}."


def key(channels: int) -> str:
    """Return what frames and ranks mean, for captions; ``channels`` is the most that a picture has."""
    frames = "; frames of three colours: red, green and blue channel" if channels == 3 else ""
    inside = "inside, red is positive and blue negative, each vector scaled to its largest entry"
    return f"λₖ is the eigenvalue of rank k, the largest has k = 0{frames}; {inside}"


def withheld(context: Context, runs: pd.DataFrame, operator: str, count: int) -> str:
    """Return a sentence with the first ``count`` eigenvalues of runs whose pictures may not be shown; empty for none."""
    parts = []
    for run in runs.itertuples():
        arrays = context.arrays("jacobian", run.dataset, run.model, int(run.train_size), int(run.shuffle))
        values, ranks = values_of(arrays, operator), ranks_of(arrays, count) or [0]
        if len(values):
            name = f"{context.label(run.model)} on {context.title(run.dataset)}, {size(int(run.train_size))},"
            texts = (eigenvalue(rank, values[rank]) for rank in ranks if rank < len(values))
            parts.append(f"{name} {', '.join(texts)}")
    return f" Pictures withheld by licence: {'; '.join(parts)}." if parts else ""

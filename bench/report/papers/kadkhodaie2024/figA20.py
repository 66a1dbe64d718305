"""Bases that follow the image.

Leading eigenvectors of the symmetric part of the Jacobian of the x0 estimate with respect to the noisy image, each scaled
to its largest entry. Those of a denoiser trained on many C-alpha images oscillate along the contour and inside its regions,
and so do those for disks, although the optimum has five smooth directions; those of one trained on few are differences of
training images.
"""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from bench.report.context import Context
from bench.report.curves import noise, shown_step
from bench.report.items import Item
from bench.report.style import SMALL, new_figure, picture, size, subscript
from bench.results.tidy import at

ITEM = Item(
    "Figure A20",
    arrays=("jacobian",),
    measures=("jacobian",),
    counterpart="bases for faces, C-alpha images and disks",
)
STEP = 10  # of 50, a noise at which bases of cosines along contours appear
MOST = 6  # lines
SIDE = 0.75  # inches of a picture


def draw(context: Context) -> tuple[Figure, str]:
    """Draw a line for each dataset and network at its smallest and largest N: image, noisy image, eigenvectors."""
    runs, chosen = context.runs("jacobian_eigenvalue"), []
    for dataset, model, own in context.groups(runs, "dataset", "model"):
        if not context.is_control(model):
            for n in dict.fromkeys((own["train_size"].min(), own["train_size"].max())):
                chosen.append((dataset, model, int(n), int(at(own, train_size=n)["shuffle"].iloc[0])))
    found = [(run, context.arrays("jacobian", *run)) for run in chosen]
    found = [(run, arrays) for run, arrays in found if "images" in arrays][:MOST]
    if not found:
        raise context.needs("eigenvectors of images that may be shown", "jacobian")
    first = found[0][1]
    step = shown_step((int(key.split("_")[2]) for key in first if key.startswith("eigenvectors_")), STEP)
    count = len(first["vectors"])
    figure = new_figure(SIDE * len(found) + 0.2)
    for axes, (run, arrays) in zip(figure.subplots(len(found), count + 2, squeeze=False), found):
        _line(axes, arrays, step)
        name = f"{context.title(run[0])}\n{context.label(run[1])}{context.mark(run[1], run[0], run[2])}\n{size(run[2])}"
        axes[0].set_ylabel(name, rotation=0, ha="right", va="center", fontsize=SMALL)
    shares = [f"{context.title(d)}, {size(n)}: {_above(arrays, step)}" for (d, _, n, _), arrays in found]
    return figure, (
        "Clean and noisy test image, and eigenvectors of the symmetric part of the denoiser's Jacobian, "
        f"{noise(context, step)}; above them their eigenvalues, rank 0 the largest; red is positive and blue negative, "
        "each vector scaled to its largest entry. The number of eigenvalues above one half is roughly the number of "
        f"directions kept: {'; '.join(shares)}."
    )


def _key(arrays: dict, kind: str, step: int) -> str:
    """Return the name of the arrays of the denoiser's Jacobian, or of the x0 estimate's where it was not measured."""
    names = (f"{kind}_{operator}_{step}_0" for operator in ("denoiser", "x0", "eps"))
    return next(name for name in names if name in arrays)


def _line(axes: np.ndarray, arrays: dict, step: int) -> None:
    for ax, key, title in zip(axes, ("images", f"noisy_{step}"), ("clean", "noisy")):
        picture(ax, arrays[key][0], cmap="gray", vmin=0, vmax=255)
        ax.set_title(title, fontsize=SMALL, pad=2)
    values = arrays[_key(arrays, "eigenvalues", step)]
    for ax, rank, vector in zip(axes[2:], arrays["vectors"], arrays[_key(arrays, "eigenvectors", step)]):
        shown = vector[..., np.abs(vector).max((0, 1)).argmax()]  # the channel of the largest entry
        picture(ax, shown, cmap="RdBu_r", vmin=-(top := np.abs(shown).max()), vmax=top)
        ax.set_title(f"λ{subscript(int(rank))} = {values[int(rank)]:.2f}", fontsize=SMALL, pad=2)


def _above(arrays: dict, step: int) -> str:
    values = arrays[_key(arrays, "eigenvalues", step)]
    return f"{int((values > 0.5).sum())} of {len(values)}"

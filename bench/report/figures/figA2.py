"""Spectra over noise levels, against PCA and DCT.

Below: the mean squared cosine between the k + 1 leading eigenvectors and as many principal components of the train
pool (solid) or fixed cosines of largest variance (dashed). Overlap near 1 means that the basis is linear, not
adapted to the image; it falls where the network adapts, down to the dotted line of random vectors.
"""

from __future__ import annotations

import numpy as np
from matplotlib import colormaps
from matplotlib.figure import Figure

from bench.report.context import Context
from bench.report.curves import MOST, OPERATORS, Line, Panel, grid, jacobian, of_operator, size_of
from bench.report.items import Item
from bench.report.style import DASHES, legend, size
from bench.results.tidy import at

ITEM = Item("Figure A2", measures=("jacobian",))


def draw(context: Context) -> tuple[Figure, str]:
    """Draw spectra above overlaps, a column for each model, on the first dataset at the largest N."""
    tables = [
        jacobian(context, f"jacobian_{name}", every=True)
        for name in ("overlap_pca", "overlap_dct", "eigenvalue")
    ]
    pca = of_operator(context, tables[0])
    dataset, operator = context.ordered(pca, "dataset")[0], pca["operator"].iloc[0]
    n = int(at(pca, dataset=dataset)["train_size"].max())
    pca, dct, values = (at(table, operator=operator, dataset=dataset, train_size=n) for table in tables)
    models, steps = context.ordered(pca, "model")[:MOST], sorted({*pca["step"]})
    shades = [colormaps["viridis"](0.9 * i / max(len(steps) - 1, 1)) for i in range(len(steps))]
    above = [Panel(context.label(model), "eigenvalue λₖ") for model in models]
    beneath = [Panel("", "overlap of k + 1\nleading vectors") for _ in models]
    for model, spectrum, overlap in zip(models, above, beneath):
        for step, shade in zip(steps, shades):
            own = [at(table, model=model, step=step) for table in (values, pca, dct)]
            sigma = own[1]["sigma"]
            name = f"step {step}" if not len(sigma) or sigma.isna().any() else f"noise {sigma.iloc[0]:.2g}"
            spectrum.lines.append(Line(own[0], name, shade))
            overlap.lines += [Line(own[1], "", shade), Line(own[2], "", shade, 1)]
    figure, axes = grid([*above, *beneath], len(models), 1.75, "k")
    ranks = np.sort(pca["index"].unique())
    for ax in axes[len(models) :]:
        ax.plot(ranks, (ranks + 1) / size_of(context, dataset), color="0.5", linestyle=":", label="chance")
        ax.set_ylim(0, 1)
    for dash, name in zip(DASHES, ("with principal components", "with cosines")):
        axes[-1].plot([], [], color="0.3", linestyle=dash, label=name)
    figure.legends[0].remove()
    legend(figure)
    last = pca["index"].max()
    ends = [f"{context.label(m)} {at(pca, model=m, index=last)['value'].mean():.2f}" for m in models]
    return figure, (
        f"{context.title(dataset)}, {size(n)}: above, the spectrum of the Jacobian of the {OPERATORS[operator]} at "
        f"{len(steps)} noise level{'s' * (len(steps) > 1)} (standard deviation relative to the image's scale); "
        f"below, the overlap of its leading eigenvectors with two fixed bases. Mean overlap with {last + 1} "
        f"principal components: {', '.join(ends)}."
    )

"""Figure A2: spectra over noise levels, and how near the leading eigenvectors lie to PCA and to cosines."""

from __future__ import annotations

import numpy as np
from matplotlib import colormaps
from matplotlib.figure import Figure

from bench.report.context import Context
from bench.report.curves import OPERATORS, curve, jacobian, size_of
from bench.report.items import Item
from bench.report.style import count, legend, new_figure

ITEM = Item(
    title="Figure A2",
    subject="Spectra over noise levels, against PCA and DCT",
    measures=("jacobian",),
)

MOST = 4  # models side by side


def draw(context: Context) -> tuple[Figure, str]:
    """Draw spectra above overlaps, a column for each model, on the first dataset at the largest N."""
    pca, dct, values = (
        jacobian(context, f"jacobian_{name}", every=True)
        for name in ("overlap_pca", "overlap_dct", "eigenvalue")
    )
    operators = set(pca["operator"])
    operator = context.options["operator"] if context.options["operator"] in operators else min(operators)
    dataset = context.ordered(pca, "dataset")[0]
    size = int(pca[pca["dataset"] == dataset]["train_size"].max())
    pca, dct, values = (
        t[(t["operator"] == operator) & (t["dataset"] == dataset) & (t["train_size"] == size)]
        for t in (pca, dct, values)
    )
    models, steps = context.ordered(pca, "model")[:MOST], sorted(set(pca["step"]))
    figure = new_figure(3.6)
    axes = figure.subplots(2, len(models), squeeze=False, sharey="row")
    shades = [colormaps["viridis"](0.9 * i / max(len(steps) - 1, 1)) for i in range(len(steps))]
    for (above, below), model in zip(axes.T, models):
        for step, shade in zip(steps, shades):
            here = [t[(t["model"] == model) & (t["step"] == step)] for t in (values, pca, dct)]
            name = (
                f"step {step}" if here[1]["sigma"].isna().any() else f"noise {here[1]['sigma'].iloc[0]:.2g}"
            )
            curve(above, here[0], "index", name, shade)
            curve(below, here[1], "index", "", shade)
            curve(below, here[2], "index", "", shade, dash=1)
        ranks = np.sort(pca["index"].unique())
        below.plot(ranks, (ranks + 1) / size_of(context, dataset), color="0.5", linestyle=":", label="chance")
        above.set_title(context.label(model))
        for ax in (above, below):
            ax.set_xlabel("k")
        below.set_ylim(0, 1)
    axes[0, 0].set_ylabel(r"eigenvalue $\lambda_k$")
    axes[1, 0].set_ylabel("overlap of k + 1\nleading vectors")
    for dash, name in (("-", "with principal components"), ((0, (4, 1.5)), "with cosines")):
        axes[1, 0].plot([], [], color="0.3", linestyle=dash, label=name)
    legend(figure)
    return figure, (
        f"{context.title(dataset)}, N = {count(size)}: above, the spectrum of the Jacobian of the {OPERATORS[operator]} at "
        f"noise levels (standard deviation relative to the image's scale); beneath, the mean squared cosine between the "
        f"k + 1 leading eigenvectors and as many principal components of the train pool (solid) or fixed cosines of largest "
        f"variance (dashed). Overlap near 1 means that the basis is linear, not adapted to the image; it falls where "
        f"the network adapts, down to the dotted line of random vectors. {len(steps)}"
        f" noise level{'s' if len(steps) > 1 else ''} measured. {context.scope}"
    )

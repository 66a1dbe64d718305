"""Samples of a network and of closed forms from the same noise.

Each column starts from one noise. The local machines make mosaics of training patches; the ideal denoiser returns
training images.
"""

from __future__ import annotations

from matplotlib.figure import Figure

from bench.report.context import Context
from bench.report.items import Item
from bench.report.papers.kamb2025.machines import MACHINES, METRIC, ordered
from bench.report.style import SMALL, new_figure, picture, size
from bench.results.tidy import at

ITEM = Item(
    "Figure A19",
    arrays=("agreement",),
    measures=("agreement",),
    counterpart="samples beside those of ELS, LS and the ideal denoiser",
)
NOISES, SIDE = 5, 0.5  # pictures in a row of a block, and their side in inches
MOST = 4  # blocks


def draw(context: Context) -> tuple[Figure, str]:
    """Draw blocks, each a network at its smallest or largest N, two side by side; rows are the network and the machines."""
    runs = context.runs(METRIC)
    dataset, _ = context.pictured(runs)
    runs = at(runs, dataset=dataset)
    machines = ordered(context.rows(METRIC)["split"])
    chosen = [
        (model, n)
        for model in context.networks(runs)
        for n in dict.fromkeys(
            (at(runs, model=model)["train_size"].min(), at(runs, model=model)["train_size"].max())
        )
    ][:MOST]
    lines = -(-len(chosen) // 2)
    figure = new_figure(lines * (SIDE * (len(machines) + 1) + 0.3))
    for part, (model, n) in zip(figure.subfigures(lines, min(2, len(chosen)), squeeze=False).ravel(), chosen):
        shuffle = int(at(runs, model=model, train_size=n)["shuffle"].iloc[0])
        arrays = context.arrays("agreement", dataset, model, int(n), shuffle)
        part.suptitle(
            f"{context.label(model)}{context.mark(model, dataset, n)}, {size(int(n))}", fontsize=7.5
        )
        _block(part, arrays, machines)
    return figure, (
        f"{context.title(dataset)}: DDIM samples of the network (top row of each block) and of the machines built from its "
        "N images, from the same starting noise in each column. "
        f"{'Images withheld by licence.' if not arrays else f'The first {NOISES} of the starting noises, unselected.'}"
    )


def _block(part: Figure, arrays: dict, machines: list[str]) -> None:
    rows = ["network", *machines]
    for axes, name in zip(part.subplots(len(rows), NOISES, squeeze=False), rows):
        for ax, image in zip(axes, arrays.get(f"samples_{name}", ())):
            picture(ax, image, cmap="gray", vmin=0, vmax=255)
        for ax in axes:
            if not ax.images:
                ax.set_axis_off()
        label = MACHINES.get(name, name).replace(" ", "\n").replace("-", "-\n")
        axes[0].set_ylabel(label, rotation=0, ha="right", va="center", fontsize=SMALL)

"""Jacobian spectra with and without local attention.

Ranks k start at 0. If the spectrum does not change, windows change the gap without changing how many directions the
network keeps.
"""

from __future__ import annotations

from matplotlib.figure import Figure

from bench.report.context import Context
from bench.report.curves import OPERATORS, Line, Panel, band, grid, jacobian, level
from bench.report.items import Item
from bench.report.style import size
from bench.results.tidy import at

ITEM = Item("Figure A1", measures=("jacobian",))


def draw(context: Context) -> tuple[Figure, str]:
    """Draw a panel for each dataset and pair of models; colours are N, the local model is dashed."""
    rows = jacobian(context)
    pairs, sizes = context.pairs(rows, local=True), context.ordered(rows, "train_size")
    panels, changes = [], []
    for pair in pairs:
        for dataset, here in context.groups(context.paired(rows, pair), "dataset"):
            panel = Panel(f"{context.title(dataset)}, {context.label(pair[0])}", "eigenvalue λₖ")
            for number, n in enumerate(sizes):
                for dash, model in enumerate(pair):
                    word = context.variant(model) if dash else "baseline"
                    own = at(here, train_size=n, model=model)
                    panel.lines.append(Line(own, f"{size(n)}, {word}", number, dash))
            panels.append(panel)
            first = at(here, index=0).groupby("model")["value"].mean()
            changes.append(f"{first[pair[0]]:.2f} and {first[pair[1]]:.2f} ({panel.title})")
    figure, _ = grid(panels, 3, 1.7, "k", share=False)
    name, values = OPERATORS[rows["operator"].iloc[0]], int(rows["index"].max()) + 1
    drawn = rows[rows["model"].isin({m for pair in pairs for m in pair})]
    return figure, (
        f"The {values} largest eigenvalues of the symmetric part of the Jacobian of the {name} at {level(rows)} and "
        f"one test image, with and without local attention; {context.shuffles(drawn)}{band(drawn)}. Mean leading "
        f"eigenvalue without and with: {'; '.join(changes)}.{context.windows_of(m for pair in pairs for m in pair)}"
    )

"""Agreement with closed forms along sampling.

At each step of the network's own DDIM trajectory its x0 estimate is compared with each machine's at the same noisy
image; index 0 is the least noisy step, and sampling goes from right to left. Where the ideal denoiser agrees best, the
network reproduces its training images.
"""

from __future__ import annotations

from matplotlib.figure import Figure

from bench.report.context import Context
from bench.report.curves import Line, Panel, band, grid
from bench.report.items import Item
from bench.report.papers.kamb2025.machines import MACHINES, ordered
from bench.report.style import size
from bench.results.tidy import at

ITEM = Item("Figure A16", measures=("agreement",))
MOST = 4  # sizes N side by side


def draw(context: Context) -> tuple[Figure, str]:
    """Draw a row of panels for each network on the first dataset, N from left to right; a line for each machine."""
    table = context.rows("agreement_correlation")
    dataset = context.ordered(table, "dataset")[0]
    table, panels = at(table, dataset=dataset), []
    sizes = context.ordered(table, "train_size")[:MOST]
    for model in context.ordered(table, "model"):
        for n in sizes:
            own = at(table, model=model, train_size=n)
            panel = Panel(
                f"{size(n)}{context.mark(model, dataset, n)}", f"{context.label(model)}\ncorrelation"
            )
            for k, name in enumerate(ordered(own["split"])):
                panel.lines.append(Line(at(own, split=name), MACHINES[name], k, k % 4, k))
            panels.append(panel)
    figure, _ = grid(panels, len(sizes), 1.35, "step index", share="all", legend_columns=5)
    worst = table.groupby(["split", "index"])["value"].mean().groupby("split").min()
    lowest = ", ".join(f"{MACHINES[m]} {worst[m]:.2f}" for m in ordered(worst.index))
    return figure, (
        f"{context.title(dataset)}: correlation of the network's x0 estimate with that of each machine, built from the same "
        "N images, at the noisy images of the network's DDIM trajectory (step 0: least noise); median over starting noises, "
        f"{context.shuffles(table)}{band(table)}. Lowest value of the mean over networks and N: {lowest}."
    )

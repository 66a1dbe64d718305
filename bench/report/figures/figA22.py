"""Gap on noisy images, and on the network's own sampling trajectory.

Dashed: train minus test PSNR on noisy images, as An et al. measure it. Solid: PSNR of the network's estimates while it
samples, against the nearest training image minus against the nearest of as many test images. A dashed hump without a
solid one: the network knows its training images, but its samples do not go there.
"""

from __future__ import annotations

from matplotlib.figure import Figure

from bench.report.context import Context
from bench.report.curves import MOST, STEP_AXIS, Line, Panel, band, grid
from bench.report.items import Item
from bench.report.style import size
from bench.results.tidy import at

ITEM = Item("Figure A22", measures=("trajectory", "psnr"))


def draw(context: Context) -> tuple[Figure, str]:
    """Draw a panel for each network, on as many datasets as there is room for; colours are N."""
    own, forward = context.rows("trajectory_gap"), context.rows("psnr_gap_signed")
    tests = context.rows("psnr_mean", split="test")
    panels, words = [], []
    for dataset, model, rows in list(context.groups(own, "dataset", "model"))[:MOST]:
        panel = Panel(f"{context.title(dataset)}, {context.label(model)}", "PSNR gap (dB)")
        for number, n in enumerate(context.ordered(rows, "train_size")):
            where = {"dataset": dataset, "model": model, "train_size": n}
            noisy = at(forward, **where)
            panel.lines.append(Line(at(rows, train_size=n), f"{size(n)}, trajectory", number))
            panel.lines.append(Line(noisy, f"{size(n)}, noisy images", number, 1))
            means = (one["value"].mean() for one in (noisy, at(rows, train_size=n), at(tests, **where)))
            words.append("{} at {}: {:.2f} and {:.2f} dB (test PSNR {:.2f} dB)".format(
                context.label(model) + context.mark(model, dataset, n), size(n), *means
            ))  # fmt: skip
        panels.append(panel)
    figure, axes = grid(panels, 2, 1.9, STEP_AXIS, legend_columns=3)
    for ax in axes:
        ax.set_ylim(bottom=min(0.0, ax.get_ylim()[0]))
    return figure, (
        "PSNR gap, train minus test, of one-step estimates of noisy images (dashed), and of those along the network's own "
        "sampling trajectory, against the nearest train and the nearest test image (solid); "
        f"{context.shuffles(own)}{band(own)}. Means of both: "
        f"{'; '.join(words)}."
    )

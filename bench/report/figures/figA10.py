"""Figure A10: share of samples that copy a training image, against N."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from bench.report.context import Context
from bench.report.curves import DASHES, field
from bench.report.style import MARKERS, PALETTE, count, legend, panels


def draw(context: Context) -> tuple[Figure, str]:
    """Draw a panel for each dataset; a line for each model, and test images as the control."""
    rows = context.rows("memorized_share")
    rows = rows[field(rows, "space") == "pixels"]
    datasets, models = context.ordered(rows, "dataset"), context.ordered(rows, "model")
    figure, axes = panels(len(datasets), 3, 1.9)
    top = min(100.0, max(10.0, 120 * float(rows["value"].max())))
    for ax, dataset in zip(axes, datasets):
        here = rows[rows["dataset"] == dataset]
        sizes = context.ordered(here, "train_size")
        for number, model in enumerate(models):
            own = here[(here["model"] == model) & (here["split"] == "")]
            values = own.groupby("train_size")["value"]
            mean, spread = (v.reindex(sizes).to_numpy() for v in (values.mean(), values.std()))
            ax.errorbar(
                range(len(sizes)), 100 * mean, None if np.isnan(spread).all() else 100 * spread, capsize=2,
                color=PALETTE[number % len(PALETTE)], marker=MARKERS[number % len(MARKERS)],
                linestyle=DASHES[number // len(PALETTE) % len(DASHES)], label=context.label(model),
            )  # fmt: skip
        control = here[here["split"] == "test"].groupby("train_size")["value"].mean().reindex(sizes)
        ax.plot(
            range(len(sizes)), 100 * control, color="0.4", linestyle=DASHES[2], label="test images (chance)"
        )
        ax.set_xticks(range(len(sizes)), [f"N = {count(n)}" for n in sizes])
        ax.set_ylim(-0.04 * top, 1.04 * top)
        ax.margins(x=0.15)
        ax.set_title(context.title(dataset))
    for ax in axes[::3]:
        ax.set_ylabel("copied samples (%) ←")
    legend(figure)
    ratio = field(rows, "ratio").iloc[0]
    whiskers = ", whiskers are one standard deviation" if rows["shuffle"].nunique() > 1 else ""
    return figure, (
        f"Share of samples whose nearest training image, in pixels, is closer than {float(ratio):.2g} of the distance to "
        f"the second nearest; the same of test images, which are no copies, is what the criterion finds by chance. "
        f"{context.shuffles(rows)}{whiskers}. {context.scope}"
    )

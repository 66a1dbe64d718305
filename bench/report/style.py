"""The one style of all figures: 5.5 inches wide, embedded TrueType, colour-blind palette plus marker or hatch."""

from __future__ import annotations

import matplotlib

matplotlib.use("Agg")

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bench.support.files import atomic

WIDTH = 5.5  # inches, the text width of NeurIPS
# Okabe & Ito 2008, dark enough on white
PALETTE = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9"]
MARKERS = ["o", "s", "^", "D", "v", "P"]
CHANNELS = ["#C44E52", "#3A9A5B", "#3B6FD6"]  # frames of the red, green and blue parts
HATCH = "////"

matplotlib.rcParams.update(
    {
        "pdf.fonttype": 42,
        "ps.fonttype": 42,
        "font.family": "DejaVu Sans",  # ships with matplotlib: the same bytes everywhere
        "font.size": 7.5,
        "axes.titlesize": 8,
        "axes.labelsize": 7.5,
        "legend.fontsize": 6.5,
        "xtick.labelsize": 6.5,
        "ytick.labelsize": 6.5,
        "axes.linewidth": 0.6,
        "axes.grid": True,
        "grid.linewidth": 0.4,
        "grid.alpha": 0.5,
        "axes.axisbelow": True,
        "lines.linewidth": 1.1,
        "lines.markersize": 2.6,
        "hatch.linewidth": 0.5,
        "legend.framealpha": 0.85,
        "svg.hashsalt": "bench",
        "figure.dpi": 100,
        "savefig.dpi": 250,
    }
)


def new_figure(height: float) -> Figure:
    """Return an empty figure of text width and this height in inches."""
    return Figure(figsize=(WIDTH, height), layout="constrained")


def panels(count: int, columns: int, height: float) -> tuple[Figure, list[Axes]]:
    """Return a figure of ``count`` panels, ``height`` inches a row, with room for a legend beneath.

    Four panels stand two by two, so that no row has a hole.
    """
    columns = 2 if count == 4 else min(columns, count)
    rows = -(-count // columns)
    figure = new_figure(height * rows + 0.35)
    axes = figure.subplots(rows, columns, squeeze=False).ravel().tolist()
    for ax in axes[count:]:
        ax.remove()
    return figure, axes[:count]


def label_rows(axes: list[Axes], text: str) -> None:
    """Write what y is beside the first panel of each row."""
    for ax in axes:
        if ax.get_subplotspec().is_first_col():
            ax.set_ylabel(text)


def legend(figure: Figure, columns: int = 4) -> None:
    """Put one legend beneath all panels, each label once, so that it lies on no data."""
    found = {}
    for ax in figure.axes:
        for handle, label in zip(*ax.get_legend_handles_labels()):
            found.setdefault(label, handle)
    figure.legend(
        found.values(),
        found.keys(),
        loc="outside lower center",
        ncols=min(columns, len(found)),
        handlelength=2.6,
    )


def picture(ax: Axes, image, frame: str | None = None, **options: object) -> None:
    """Show an image without ticks, its frame coloured if asked."""
    ax.imshow(image, interpolation="nearest", **options)
    ax.set_xticks([])
    ax.set_yticks([])
    ax.grid(False)
    for spine in ax.spines.values():
        spine.set_color(frame or "0.6")
        spine.set_linewidth(1.0 if frame else 0.5)


def withheld(ax: Axes) -> None:
    """Show that a picture may not be passed on with the project."""
    ax.set_axis_off()
    ax.text(0.5, 0.5, "not\nredistributable", ha="center", va="center", fontsize=5, color="0.4")


def save(figure: Figure, stem: str) -> None:
    """Write STEM.pdf and STEM.png; the same figure gives the same bytes."""
    for form, metadata in (
        ("pdf", {"CreationDate": None, "Producer": None, "Creator": None}),
        ("png", {"Software": None}),
    ):
        with atomic(f"{stem}.{form}") as path:
            figure.savefig(path, format=form, metadata=metadata)


def count(n: int) -> str:
    """Return N as readers write it: 10, 1,000, or a power of ten."""
    power = len(str(n)) - 1
    return f"$10^{power}$" if n == 10**power and n >= 1000 else f"{n:,}"

"""The one style of all figures: 5.5 inches wide, embedded TrueType, colour-blind palette plus marker or hatch.

Nothing of a user's matplotlib settings reaches a figure: :func:`sheet` starts from matplotlib's own defaults. All text is
drawn verbatim, so that a ``$`` in a name is a dollar; formulas ask for ``parse_math=True``.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_pdf import FigureCanvasPdf
from matplotlib.colors import Colormap
from matplotlib.container import Container
from matplotlib.figure import Figure
from matplotlib.ft2font import FT2Font

from bench.support.files import atomic

DPI = 250  # of PNGs, and of images in PDFs
WIDTH = 5.5  # inches, the text width of NeurIPS
# Okabe & Ito 2008, dark enough on white, then three of Tol's muted colours
PALETTE = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#882255", "#999933", "#332288"]
MARKERS = ["o", "s", "^", "D", "v", "P", "X", "*", "<", ">", "p"]
DASHES = ["-", (0, (4, 1.5)), (0, (1, 1)), (0, (5, 1, 1, 1))]
CHANNELS = ["#C44E52", "#3A9A5B", "#3B6FD6"]  # frames of the red, green and blue parts
GREY = "0.35"  # controls
HATCH = "////"
DECIMALS = 5  # of a position, in parts of the figure
SMALL = 6.5  # points; smaller text cannot be read in print

_SHEET = {
    "pdf.fonttype": 42,
    "ps.fonttype": 42,
    "font.family": "DejaVu Sans",  # ships with matplotlib: the same bytes everywhere
    "font.size": 7.5,
    "axes.titlesize": 8,
    "axes.labelsize": 7.5,
    "legend.fontsize": SMALL,
    "xtick.labelsize": SMALL,
    "ytick.labelsize": SMALL,
    "axes.linewidth": 0.6,
    "axes.grid": True,
    "grid.linewidth": 0.4,
    "grid.alpha": 0.5,
    "axes.axisbelow": True,
    "lines.linewidth": 1.1,
    "lines.markersize": 2.6,
    "hatch.linewidth": 0.5,
    "legend.framealpha": 0.85,
    "text.parse_math": False,
    "svg.hashsalt": "bench",
    "figure.dpi": 100,
}
_DEFAULTS = {key: matplotlib.rcParamsDefault[key] for key in matplotlib.rcParamsDefault if key != "backend"}


@contextmanager
def sheet() -> Iterator[None]:
    """Draw in the project's style, whatever the settings of the process are; they are restored afterwards."""
    with matplotlib.rc_context(_DEFAULTS | _SHEET):
        yield


@functools.cache
def _known_characters() -> frozenset[int]:
    path = Path(matplotlib.get_data_path(), "fonts", "ttf", "DejaVuSans.ttf")
    return frozenset(FT2Font(str(path)).get_charmap())


def drawable(text: str, instead: str = "") -> str:
    """Return text that the font can draw: where it lacks a character ``instead``, with codes for what that lacks too."""
    if all(ord(letter) in _known_characters() for letter in text):
        return text
    shown = instead or text
    return "".join(c if ord(c) in _known_characters() else f"U+{ord(c):04X}" for c in shown)


@functools.cache
def sequential() -> Colormap:
    """Return the colour map of shares and weights: nearly white to the first colour of the palette."""
    import seaborn  # most of a second; only pictures of maps need it

    return seaborn.light_palette(PALETTE[0], as_cmap=True)


def new_figure(height: float) -> Figure:
    """Return an empty figure of text width and this height in inches."""
    return Figure(figsize=(WIDTH, height), layout="constrained")


def panels(count: int, columns: int, height: float, **options: object) -> tuple[Figure, list[Axes]]:
    """Return a figure of ``count`` panels, ``height`` inches a row, with room for a legend below.

    Four panels are arranged two by two where three would share a row, so that no row has a gap.
    """
    columns = 2 if count == 4 and columns == 3 else min(columns, count)
    rows = -(-count // columns)
    figure = new_figure(height * rows + 0.35)
    axes = figure.subplots(rows, columns, squeeze=False, **options).ravel().tolist()
    for ax in axes[count:]:
        ax.remove()
    return figure, axes[:count]


def letter(place: int, text: str = "") -> str:
    """Return the label of a panel: (a), (b), ..., with a text behind it."""
    return f"({'abcdefghijklmnopqrstuvwxyz'[place % 26]}) {text}".strip()


def legend(figure: Figure, columns: int = 4, axes: Iterable[Axes] | None = None) -> None:
    """Put one legend of these panels, else of all, below the figure, each label once, so that it lies on no data."""
    if found := entries(figure.axes if axes is None else axes):
        options = {"loc": "outside lower center", "ncols": min(columns, len(found)), "handlelength": 2.6}
        figure.legend(found.values(), found.keys(), **options)


def entries(axes: Iterable[Axes]) -> dict[str, object]:
    """Return label -> handle of a legend: bars and marks with whiskers first, then reference lines."""
    found: dict[str, object] = {}
    for ax in axes:
        for handle, label in zip(*ax.get_legend_handles_labels(), strict=True):
            found.setdefault(label, handle)
    return dict(sorted(found.items(), key=lambda entry: not isinstance(entry[1], Container)))


def picture(ax: Axes, image: np.ndarray, frame: str | None = None, **options: object) -> None:
    """Show an image without ticks, its frame coloured if asked."""
    ax.imshow(image, interpolation="nearest", **options)
    ax.set_xticks([])
    ax.set_yticks([])
    ax.grid(False)
    for spine in ax.spines.values():
        spine.set_color(frame or "0.6")
        spine.set_linewidth(1.0 if frame else 0.5)


def share_y(axes: Iterable[Axes], low: float | None = None, room: float = 0.0) -> None:
    """Give panels one y scale, from ``low`` where given, with ``room`` of it above the data."""
    axes = [*axes]
    limits = np.array([ax.get_ylim() for ax in axes])
    bottom = limits[:, 0].min() if low is None else low
    top = bottom + (max(limits[:, 1].max(), bottom + 1e-9) - bottom) / (1 - room)
    for ax in axes:
        ax.set_ylim(bottom, top)


def save(figure: Figure, stem: str) -> None:
    """Write STEM.pdf and STEM.png; the same figure gives the same bytes.

    The canvases print it themselves: ``savefig`` would first draw it once more for each form, to lay it out. The PDF is
    last, since it leaves a figure at 72 dpi.
    """
    with sheet():
        _freeze(figure)
        figure.set_dpi(DPI)
        with atomic(f"{stem}.png") as path:
            FigureCanvasAgg(figure).print_png(path, metadata={"Software": None})
        with atomic(f"{stem}.pdf") as path:
            undated = {"CreationDate": None, "Producer": None, "Creator": None}
            FigureCanvasPdf(figure).print_pdf(path, metadata=undated)


def _freeze(figure: Figure) -> None:
    """Lay a figure out once, for all forms, and round what the solver leaves different in the last bits each time."""
    figure.draw_without_rendering()
    figure.set_layout_engine("none")
    parts = [figure]
    for part in parts:
        parts += part.subfigs
        if part is not figure:
            part.bbox_relative.p0, part.bbox_relative.p1 = np.round(part.bbox_relative.get_points(), DECIMALS)
        for text in filter(None, (part._suptitle, part._supxlabel, part._supylabel)):
            text.set_position(np.round(text.get_position(), DECIMALS))
    for ax in figure.axes:
        ax.set_position(np.round(ax.get_position(original=True).bounds, DECIMALS))


def size(n: int) -> str:
    """Return "N = 1,000", the one notation for training sizes."""
    return f"N = {n:,}"


def turned(text: str) -> str:
    """Return text for a label that reads upwards, whose arrows then point where they do in a level one."""
    return text.translate(str.maketrans("↗↘", "↘↙"))


def subscript(k: int) -> str:
    """Return a number as subscript."""
    return str(k).translate(str.maketrans("0123456789", "₀₁₂₃₄₅₆₇₈₉"))

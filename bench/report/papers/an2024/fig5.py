"""Global and local attention.

Framed rows of a map are shown as images to its right. It is drawn from the definition of the mask.
"""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure, SubFigure
from matplotlib.patches import Patch, Rectangle

from bench.report.context import Context
from bench.report.items import Item
from bench.report.style import PALETTE, SMALL, new_figure, picture

ITEM = Item("Figure 5", counterpart="a 4x4 grid and a 3x3 window")
SIDE, WINDOW = 4, 3  # the paper's grid and window
TOKENS = (0, 6, 14)  # rows of the map that are shown as images
COLOURS = ("#CFCFCF", "#A9C8E8", PALETTE[0])
NAMES = ("skipped token", "attended token", "target token")


def mask(side: int, window: int | None) -> np.ndarray:
    """Return the (side^2, side^2) boolean mask: True if the key lies in the window around the query, which is
    clipped at the border; all True for global attention."""
    row, column = np.divmod(np.arange(side * side), side)
    if window is None:
        return np.ones((side * side,) * 2, bool)
    near = [np.abs(place[:, None] - place[None]) <= window // 2 for place in (row, column)]
    return near[0] & near[1]


def draw(context: Context) -> tuple[Figure, str]:
    """Draw the formula, then the attention map and three token maps of global and of local attention."""
    figure = new_figure(2.05)
    formula, *blocks = figure.subfigures(1, 3, wspace=0.02, width_ratios=[0.95, 2, 2])
    options = {"ha": "center", "va": "center", "parse_math": True}
    formula.text(0.5, 0.72, r"$Q, K \in \mathbb{R}^{(HW)\times d}$", fontsize=9, **options)
    formula.text(
        0.5, 0.45, r"$\mathrm{softmax}\!\left(\frac{QK^{\top}}{\sqrt{d}}\right)$", fontsize=10, **options
    )
    formula.text(0.5, 0.18, "Q: query, K: key,\nd: width of a head", fontsize=SMALL, ha="center", va="center")
    titles = ("(a) Global attention", f"(b) Local attention, {WINDOW} × {WINDOW}")
    for block, window, title in zip(blocks, (None, WINDOW), titles):
        block.suptitle(title, fontsize=8)
        _block(block, mask(SIDE, window).astype(int) + np.eye(SIDE * SIDE, dtype=int))
    handles = [Patch(color=colour, label=name) for colour, name in zip(reversed(COLOURS), reversed(NAMES))]
    figure.legend(handles=handles, loc="outside lower center", ncols=3)
    return figure, (
        f"Attention map of a {SIDE} × {SIDE} grid of tokens and three of its rows as images, for global attention "
        f"and for a window of {WINDOW} × {WINDOW} tokens around the target, clipped at the border. The softmax runs "
        f"over the attended tokens: a corner token attends to {int(mask(SIDE, WINDOW)[0].sum())} of {SIDE * SIDE}."
    )


def _block(block: SubFigure, kinds: np.ndarray) -> None:
    grid = block.add_gridspec(len(TOKENS), 2, width_ratios=[3.4, 1])
    whole = block.add_subplot(grid[:, 0])
    _tokens(whole, kinds)
    whole.set(xlabel="key token (HW)", ylabel="query token (HW)", yticks=TOKENS)
    whole.tick_params(axis="y", length=0)
    frame = {"fill": False, "edgecolor": "black", "linewidth": 1, "zorder": 3}
    for place, token in enumerate(TOKENS):
        whole.add_patch(Rectangle((-0.5, token - 0.5), SIDE * SIDE, 1, **frame))
        ax = block.add_subplot(grid[place, 1])
        _tokens(ax, kinds[token].reshape(SIDE, SIDE))
        ax.set_title(f"token {token}", fontsize=SMALL, pad=2)
    ax.set_xlabel("H × W", fontsize=SMALL, labelpad=1)


def _tokens(ax: Axes, kinds: np.ndarray) -> None:
    picture(ax, kinds, cmap=ListedColormap(COLOURS), vmin=0, vmax=2)
    rows, columns = kinds.shape
    for line in range(1, rows):
        ax.axhline(line - 0.5, color="white", linewidth=0.6)
    for line in range(1, columns):
        ax.axvline(line - 0.5, color="white", linewidth=0.6)

"""Figure 5: which tokens a token attends to, globally and in a local window. Drawn from the mask's definition."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle

from bench.report.context import Context
from bench.report.items import Item
from bench.report.style import PALETTE, new_figure, picture

ITEM = Item(
    title="Figure 5",
    subject="Global and local attention",
    counterpart="a 4x4 grid and a 3x3 window",
)

SIDE, WINDOW = 4, 3  # the paper's grid and window
TOKENS = (0, 6, 14)  # rows of the map that are shown as images
COLOURS = ("#CFCFCF", "#A9C8E8", PALETTE[0])
NAMES = ("skipped token", "attended token", "target token")


def mask(side: int, window: int | None) -> np.ndarray:
    """Return the (side^2, side^2) boolean mask: True where the key lies in the window around the query, which is
    clipped at the border; all True for global attention."""
    row, column = np.divmod(np.arange(side * side), side)
    if window is None:
        return np.ones((side * side,) * 2, bool)
    near = [np.abs(place[:, None] - place[None]) <= window // 2 for place in (row, column)]
    return near[0] & near[1]


def draw(context: Context) -> tuple[Figure, str]:
    """Draw the attention map and three token maps of global and of local attention."""
    figure = new_figure(2.35)
    blocks = figure.subfigures(1, 2, wspace=0.04)
    for block, window, title in zip(
        blocks, (None, WINDOW), ("(a) Global attention", f"(b) Local attention, {WINDOW} × {WINDOW}")
    ):
        block.suptitle(title, fontsize=8)
        kinds = mask(SIDE, window).astype(int) + np.eye(SIDE * SIDE, dtype=int)
        grid = block.add_gridspec(len(TOKENS), 2, width_ratios=[3.4, 1])
        whole = block.add_subplot(grid[:, 0])
        _tokens(whole, kinds)
        whole.set(xlabel="key token (HW)", ylabel="query token (HW)", yticks=TOKENS)
        whole.tick_params(axis="y", length=0)
        for place, token in enumerate(TOKENS):
            whole.add_patch(
                Rectangle(
                    (-0.5, token - 0.5), SIDE * SIDE, 1, fill=False, edgecolor="black", linewidth=1, zorder=3
                )
            )
            ax = block.add_subplot(grid[place, 1])
            _tokens(ax, kinds[token].reshape(SIDE, SIDE))
            ax.set_title(f"token {token}", fontsize=6.5, pad=2)
    handles = [Patch(color=colour, label=name) for colour, name in zip(reversed(COLOURS), reversed(NAMES))]
    figure.legend(handles=handles, loc="outside lower center", ncols=3)
    return figure, (
        f"Attention map of a {SIDE} × {SIDE} grid of tokens: softmax(QK^T / sqrt(d)) over the attended tokens. "
        f"Right: framed rows as images. A local window is centred on the target token and clipped at the "
        f"border, so a corner token attends to {int(mask(SIDE, WINDOW)[0].sum())} tokens. "
        "Drawn from the mask that the networks use."
    )


def _tokens(ax: Axes, kinds: np.ndarray) -> None:
    picture(ax, kinds, cmap=ListedColormap(COLOURS), vmin=0, vmax=2)
    rows, columns = kinds.shape
    for line in range(1, rows):
        ax.axhline(line - 0.5, color="white", linewidth=0.6)
    for line in range(1, columns):
        ax.axvline(line - 0.5, color="white", linewidth=0.6)

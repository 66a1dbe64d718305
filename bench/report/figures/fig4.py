"""Figure 4: attention maps by layer and N, and one token's map."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from bench.errors import BenchError
from bench.report.context import Context
from bench.report.style import WIDTH, count, new_figure, picture

LAYERS = 6
ZOOMED = 256  # maps of this many tokens or more get an inset
# The paper colours [0, 0.1] of a map normalised to [0, 1], of 1024 tokens; fewer tokens share more attention each
PAPER_TOP, PAPER_TOKENS = 0.1, 1024


def draw(context: Context) -> tuple[Figure, str]:
    """Draw a row for each dataset, model and N: up to six layers, then the last layer's map of one token."""
    runs = context.runs("attention_distance")
    rows = []
    for dataset in context.ordered(runs, "dataset"):
        for model in context.ordered(runs, "model"):
            for size in context.ordered(runs, "train_size"):
                found = runs[
                    (runs["dataset"] == dataset) & (runs["model"] == model) & (runs["train_size"] == size)
                ]
                if len(found):
                    rows.append((dataset, model, int(size), int(found["shuffle"].iloc[0])))
    loaded = [context.arrays("attention", *row) for row in rows]
    layers = min(LAYERS, max(len(arrays["maps"]) for arrays in loaded))
    if layers == 0:
        raise BenchError("fig4 needs a network with attention; none of its models has any.")
    figure = new_figure(len(rows) * ((WIDTH - 0.75) / (layers + 1) + 0.2) + 0.05)
    axes = figure.subplots(len(rows), layers + 1, squeeze=False)
    for row, run, arrays in zip(axes, rows, loaded):
        _row(row, arrays, layers)
        names = (
            (context.title(run[0]), len({r[0] for r in rows})),
            (context.label(run[1]), len({r[1] for r in rows})),
        )
        who = "".join(f"{name}\n" for name, several in names if several > 1)
        row[0].set_ylabel(f"{who}N = {count(run[2])}")
    top = colour_top(loaded[0]["maps"].shape[-1])
    figure.colorbar(
        axes[0, 0].images[0],
        ax=axes,
        label="attention, normalised to [0, 1]",
        aspect=35,
        pad=0.01,
        extend="max" if top < 1 else "neither",
    )
    return figure, _caption(context)


def _row(axes: np.ndarray, arrays: dict[str, np.ndarray], layers: int) -> None:
    maps = arrays["maps"]
    top = colour_top(maps.shape[-1])
    chosen = np.unique(np.linspace(0, len(maps) - 1, layers).round().astype(int))
    for ax, layer in zip(axes, chosen):
        picture(ax, normalised(maps[layer]), cmap="PuBu", vmin=0, vmax=top)
        window = arrays["windows"][layer]
        _zoom(ax, normalised(maps[layer]), top)
        ax.set_title(
            f"layer {arrays['layers'][layer]}" + (f", w = {window}" if window else ""), fontsize=6.5, pad=2
        )
    rows, columns = arrays["grid"]
    token = int(arrays["token"])
    picture(axes[-1], normalised(maps[-1])[token].reshape(rows, columns), cmap="PuBu", vmin=0, vmax=top)
    y, x = divmod(token, columns)
    axes[-1].add_patch(Rectangle((x - 0.5, y - 0.5), 1, 1, fill=False, edgecolor="#0000CC", linewidth=1))
    axes[-1].set_title(f"token {token}", fontsize=6.5, pad=2)


def _zoom(ax: Axes, values: np.ndarray, top: float) -> None:
    """Show the centre of a large map, two rows of tokens on each side, in the upper right corner."""
    tokens = len(values)
    if tokens >= ZOOMED:
        half = 2 * round(tokens**0.5)
        centre = slice(tokens // 2 - half, tokens // 2 + half)
        inset = ax.inset_axes((0.6, 0.6, 0.42, 0.42))
        picture(inset, values[centre, centre], "0.4", cmap="PuBu", vmin=0, vmax=top)


def normalised(values: np.ndarray) -> np.ndarray:
    """Return a map linearly normalised to [0, 1]."""
    low, high = values.min(), values.max()
    return (values - low) / max(high - low, 1e-12)


def colour_top(tokens: int) -> float:
    """Return the upper end of the colour range for maps of this many tokens."""
    return min(1.0, PAPER_TOP * PAPER_TOKENS / tokens)


def _caption(context: Context) -> str:
    protocol = context.rows("attention_distance")["protocol"].iloc[0]
    return (
        "Attention maps (row: output token, column: input token), each linearly normalised to [0, 1], colour range "
        f"[0, {PAPER_TOP}] at the paper's {PAPER_TOKENS} tokens, in proportion for fewer; "
        f"last column: the last layer's row of the boxed token, as an image. "
        f"Insets show the centre of a map of {ZOOMED} tokens or more. Averages: {protocol}. A dark "
        f"diagonal means that a token attends to its neighbours. {context.scope}"
    )

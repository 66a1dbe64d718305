"""Figure 4: attention maps by layer and N, and one token's map."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from bench.report.context import Context
from bench.report.curves import field, noise
from bench.report.items import Item
from bench.report.style import WIDTH, count, new_figure, picture
from bench.support.errors import BenchError

ITEM = Item(
    title="Figure 4",
    subject="Attention maps by layer and N",
    arrays=("attention",),
    measures=("attention",),
    counterpart="DiT-XS/1 on CelebA, N = 10, 1,000 and 100,000",
)

LAYERS = 6
FAINT = 0.25  # of the colour range
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
    alone = any(_blank(arrays) for arrays in loaded)
    for row, run, arrays in zip(axes, rows, loaded):
        _row(row, arrays, layers, alone)
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
    return figure, _caption(context, alone)


def _row(axes: np.ndarray, arrays: dict[str, np.ndarray], layers: int, alone: bool) -> None:
    maps = arrays["maps"]
    top = colour_top(maps.shape[-1])
    for ax, layer in zip(axes, shown_layers(len(maps), layers)):
        picture(ax, normalised(maps[layer]), cmap="PuBu", vmin=0, vmax=top)
        window = arrays["windows"][layer]
        _zoom(ax, normalised(maps[layer]), top)
        ax.set_title(
            f"layer {arrays['layers'][layer]}" + (f", w = {window}" if window else ""), fontsize=6.5, pad=2
        )
    _token(axes[-1], arrays, alone)


def shown_layers(depth: int, count: int) -> list[int]:
    """Return the last layer of each of ``count`` parts of the network: of 12, as the paper, every second one."""
    count = min(depth, count)
    return [depth * (part + 1) // count - 1 for part in range(count)]


def _blank(arrays: dict[str, np.ndarray]) -> bool:
    """Return whether the token's row can hardly be seen where the whole map is normalised."""
    maps = arrays["maps"]
    return normalised(maps[-1])[int(arrays["token"])].max() < FAINT * colour_top(maps.shape[-1])


def _token(ax: Axes, arrays: dict[str, np.ndarray], alone: bool) -> None:
    """Draw what one token of the last layer attends to, with a box around the token that leaves it free."""
    (rows, columns), token, last = arrays["grid"], int(arrays["token"]), arrays["maps"][-1]
    values = normalised(last[token]) if alone else normalised(last)[token]
    picture(ax, values.reshape(rows, columns), cmap="PuBu", vmin=0, vmax=colour_top(len(last)))
    y, x = divmod(token, int(columns))
    half = max(1, round(columns / 10)) + 0.5
    ax.add_patch(
        Rectangle((x - half, y - half), 2 * half, 2 * half, fill=False, edgecolor="#0000CC", linewidth=1)
    )
    ax.set_title(f"token ({y}, {x})", fontsize=6.5, pad=2)


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


def _caption(context: Context, alone: bool) -> str:
    table = context.rows("attention_distance")
    models, datasets = (context.ordered(table, column) for column in ("model", "dataset"))
    own = ", normalised by itself" if alone else ""
    return (
        f"{' and '.join(map(context.label, models))} on {' and '.join(map(context.title, datasets))}: attention maps (row: "
        f"output token, column: input token) {_averages(context, table)}, each linearly normalised to [0, 1], colour range "
        f"[0, {PAPER_TOP}] at the paper's {PAPER_TOKENS} tokens, in proportion for fewer; last column: the last layer's map "
        f"of the token amid the box, named by its row and column from 0, as an image{own}. "
        f"Insets show the centre of a map of {ZOOMED} tokens or more. A dark "
        f"diagonal means that a token attends to its neighbours. {context.scope}"
    )


def _averages(context: Context, table: pd.DataFrame) -> str:
    """Return what the maps are averages over, in words."""
    images, steps = (field(table, key).iloc[0] for key in ("images", "step_indices"))
    if pd.isna(steps):
        return f"averaged over heads and {images} images"
    levels = " and ".join(noise(context, int(step)) for step in steps.split(","))
    return f"averaged over heads and {images} images at {levels}"

"""Attention maps by layer and N.

A row of a map is an output token, a column an input token; each map is linearly normalised to [0, 1]. The paper
colours [0, 0.1] at 1,024 tokens; with fewer tokens each gets more attention, so the range grows in proportion. Insets
show the centre of a large map. A dark diagonal means that a token attends to its neighbours.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import ConnectionPatch, Rectangle

from bench.report.context import Context
from bench.report.curves import noise
from bench.report.items import Item
from bench.report.style import SMALL, WIDTH, new_figure, picture, sequential, size, turned
from bench.results.tidy import at, protocol_field

ITEM = Item(
    "Figure 4",
    arrays=("attention",),
    measures=("attention",),
    counterpart="DiT-XS/1 on CelebA, N = 10, 1,000 and 100,000",
)
LAYERS = 6
FAINT = 0.25  # of the colour range
ZOOMED = 256  # maps of this many tokens or more get an inset
PAPER_TOP, PAPER_TOKENS = 0.1, 1024  # the paper's colour range and tokens
LINK = "#C06A70"  # from a row of the last map to its token map


def draw(context: Context) -> tuple[Figure, str]:
    """Draw a row for each dataset, model and N: up to six layers, then the last layer's map of one token.

    If the item lists no datasets, the first is shown; of more than three N, the extremes and the middle one.
    """
    runs = context.runs("attention_distance")
    if not context.options["datasets"]:
        runs = at(runs, dataset=context.ordered(runs, "dataset")[0])
    runs = runs[runs["train_size"].isin(context.sizes(runs, 3))]
    rows = [
        (dataset, model, int(n), int(own["shuffle"].iloc[0]))
        for dataset, model, n, own in context.groups(runs, "dataset", "model", "train_size")
    ]
    loaded = [context.arrays("attention", *row) for row in rows]
    layers = min(LAYERS, max(len(arrays["maps"]) for arrays in loaded))
    if layers == 0:
        raise context.needs("a network with attention")
    figure = new_figure(len(rows) * ((WIDTH - 0.95) / (layers + 1) + 0.12) + 0.3)
    axes = figure.subplots(len(rows), layers + 1, squeeze=False)
    alone = any(_blank(arrays) for arrays in loaded)
    titles = {column: len({row[column] for row in rows}) > 1 for column in (0, 1)}
    for place, (line, run, arrays) in enumerate(zip(axes, rows, loaded)):
        _row(line, arrays, layers, alone, place == 0 or titles[1])
        _link(figure, line[-2], line[-1], int(arrays["token"]))
        who = [context.title(run[0])] * titles[0] + [context.label(run[1])] * titles[1]
        who += [turned(size(run[2]) + context.mark(run[1], run[0], run[2]))]
        distance = _distances(context, *run[:2]).get(run[2])
        line[0].set_ylabel("\n".join([*who, f"{distance:.2f} tokens"]), fontsize=SMALL)
    axes[-1, (layers - 1) // 2].set_xlabel("each map: (HW) × (HW)", fontsize=SMALL)
    axes[-1, -1].set_xlabel("H × W", fontsize=SMALL)
    top = colour_top(loaded[0]["maps"].shape[-1])
    options = {"aspect": 35, "pad": 0.01, "extend": "max" if top < 1 else "neither"}
    words = "attention, normalised to [0, 1]" if len(rows) > 1 else "attention, 0 to 1"
    figure.colorbar(axes[0, 0].images[0], ax=axes, label=words, **options)
    if (
        len(rows) > 1
        and not any(titles.values())
        and _distances(context, *rows[0][:2]).is_monotonic_decreasing
    ):
        figure.supylabel("more local →", rotation=-90, fontsize=7.5)
    return figure, _caption(context, runs, alone)


def _row(axes: np.ndarray, arrays: dict[str, np.ndarray], layers: int, alone: bool, titled: bool) -> None:
    maps = arrays["maps"]
    top = colour_top(maps.shape[-1])
    for ax, layer in zip(axes, shown_layers(len(maps), layers)):
        values, window = normalised(maps[layer]), arrays["windows"][layer]
        picture(ax, values, cmap=sequential(), vmin=0, vmax=top)
        _zoom(ax, values, top)
        if titled:
            words = f", w = {window}" if window else ""
            ax.set_title(f"layer {arrays['layers'][layer]}{words}", fontsize=SMALL, pad=2)
    _token(axes[-1], arrays, alone, titled)


def shown_layers(depth: int, count: int) -> list[int]:
    """Return the last layer of each of ``count`` parts of the network: of 12, as the paper, every second one."""
    count = min(depth, count)
    return [depth * (part + 1) // count - 1 for part in range(count)]


def _blank(arrays: dict[str, np.ndarray]) -> bool:
    """Return whether the token's row is hardly visible when the whole map is normalised."""
    maps = arrays["maps"]
    return normalised(maps[-1])[int(arrays["token"])].max() < FAINT * colour_top(maps.shape[-1])


def _token(ax: Axes, arrays: dict[str, np.ndarray], alone: bool, titled: bool) -> None:
    """Draw what one token of the last layer attends to, with a box around the token that leaves it free."""
    (rows, columns), token, last = arrays["grid"], int(arrays["token"]), arrays["maps"][-1]
    values = normalised(last[token]) if alone else normalised(last)[token]
    picture(ax, values.reshape(rows, columns), LINK, cmap=sequential(), vmin=0, vmax=colour_top(len(last)))
    y, x = divmod(token, int(columns))
    half = max(1, round(columns / 10)) + 0.5
    box = {"fill": False, "edgecolor": "#0000CC", "linewidth": 1}
    ax.add_patch(Rectangle((x - half, y - half), 2 * half, 2 * half, **box))
    if titled:
        ax.set_title(f"token ({y}, {x})", fontsize=SMALL, pad=2)


def _link(figure: Figure, whole: Axes, token_map: Axes, token: int) -> None:
    """Frame the token's row of the last map and join it with the token map."""
    tokens = whole.images[0].get_array().shape[-1]
    high = max(1.0, tokens / 40)
    frame = {"fill": False, "edgecolor": LINK, "linewidth": 0.8, "clip_on": False}
    whole.add_patch(Rectangle((-0.5, token - high / 2), tokens, high, **frame))
    ends = {
        "xyA": (tokens - 0.5, token),
        "coordsA": whole.transData,
        "xyB": (0, 0.5),
        "coordsB": token_map.transAxes,
    }
    figure.add_artist(ConnectionPatch(**ends, color=LINK, linewidth=0.8, arrowstyle="-|>", mutation_scale=5))


def _zoom(ax: Axes, values: np.ndarray, top: float) -> None:
    """Show the centre of a large map, two rows of tokens on each side, in the upper right corner."""
    tokens = len(values)
    if tokens >= ZOOMED:
        half = 2 * round(tokens**0.5)
        centre = slice(tokens // 2 - half, tokens // 2 + half)
        inset = ax.inset_axes((0.6, 0.6, 0.42, 0.42))
        picture(inset, values[centre, centre], "0.4", cmap=sequential(), vmin=0, vmax=top)


def normalised(values: np.ndarray) -> np.ndarray:
    """Return a map linearly normalised to [0, 1]."""
    low, high = values.min(), values.max()
    return (values - low) / max(high - low, 1e-12)


def colour_top(tokens: int) -> float:
    """Return the upper end of the colour range for maps of this many tokens."""
    return min(1.0, PAPER_TOP * PAPER_TOKENS / tokens)


def _distances(context: Context, dataset: str, model: str) -> pd.Series:
    """Return the mean attention distance of a model by N, in tokens."""
    return (
        context.rows("attention_distance", dataset=dataset, model=model).groupby("train_size")["value"].mean()
    )


def _caption(context: Context, runs: pd.DataFrame, alone: bool) -> str:
    table = context.rows("attention_distance")
    models, datasets = (context.ordered(runs, column) for column in ("model", "dataset"))
    own = ", normalised by itself" if alone else ""
    images, steps = (protocol_field(table, key).iloc[0] for key in ("images", "step_indices"))
    levels = (
        ""
        if pd.isna(steps)
        else " at " + " and ".join(noise(context, int(step)) for step in steps.split(","))
    )
    distances, shown = _distances(context, datasets[0], models[0]), {*runs["train_size"]}
    found = ", ".join(f"{value:.2f} at {size(int(n))}" for n, value in distances.items() if n in shown)
    return (
        f"{' and '.join(map(context.label, models))} on {' and '.join(map(context.title, datasets))}: attention "
        f"maps averaged over heads and {images} images{levels}; last column: the framed row of the last layer as an "
        f"image{own}, with a box around the token. Mean attention distance of "
        f"{context.label(models[0])} in tokens, also beside the rows: "
        f"{found}.{context.windows_of(models)}"
    )

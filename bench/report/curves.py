"""What the figures of the appendix share: fields of a row's protocol, curves with bands, the runs of a Jacobian."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from bench.report.context import Context
from bench.report.quality import CONTROLS
from bench.report.style import MARKERS, PALETTE

MARKS = (*MARKERS, "X", "*", "<", ">", "p")
PAPER_STEP = 7  # of 50, recovered from the noise that the paper's Fig. 3 shows
DASHES = ("-", (0, (4, 1.5)), (0, (1, 1)), (0, (5, 1, 1, 1)))


def field(table: pd.DataFrame, key: str) -> pd.Series:
    """Return ``VALUE`` of ``key=VALUE`` in each row's protocol, NaN where it has none."""
    return table["protocol"].str.extract(rf"(?:^|;){key}=([^;]*)", expand=False)


def curve(
    ax: Axes,
    table: pd.DataFrame,
    x: str,
    label: str,
    colour: int | str,
    dash: int = 0,
    marker: int | None = None,
    every: int | None = None,
) -> None:
    """Draw the mean of ``value`` against column ``x``, images first, then shuffles, with a band of one deviation.

    ``colour``, ``dash`` and ``marker`` count through the style's lists; a colour can be given by name.
    """
    if not len(table):
        return
    values = table.groupby([x, "shuffle"])["value"].mean().groupby(x)
    mean, spread = values.mean(), values.std()
    shade = PALETTE[colour % len(PALETTE)] if isinstance(colour, int) else colour
    ax.plot(
        mean.index.astype(float), mean, color=shade, linestyle=DASHES[dash % len(DASHES)], label=label,
        marker=None if marker is None else MARKERS[marker % len(MARKERS)], markevery=every, markeredgewidth=0,
    )  # fmt: skip
    if spread.notna().any():
        ax.fill_between(mean.index.astype(float), mean - spread, mean + spread, color=shade, alpha=0.25, lw=0)


def name_columns(context: Context, axes: np.ndarray, models: list[str], x: str) -> None:
    """Write the models above the columns of a grid of axes, and what their common x is beneath."""
    for top, bottom, model in zip(axes[0], axes[-1], models):
        top.set_title(context.label(model))
        bottom.set_xlabel(x)


def band(table: pd.DataFrame) -> str:
    """Return what a band means, in words."""
    return "bands are one standard deviation over shuffles" if table["shuffle"].nunique() > 1 else "no band"


def jacobian(context: Context, metric: str = "jacobian_eigenvalue", every: bool = False) -> pd.DataFrame:
    """Return the rows of a Jacobian metric with columns operator, step and sigma.

    Without ``every`` of one operator, the item's where it was measured, and of the noise level nearest to the paper's.
    """
    table = context.rows(metric)
    table = table.assign(
        operator=field(table, "operator"),
        step=field(table, "step").astype(int),
        sigma=field(table, "sigma").astype(float),
    )
    if every:
        return table
    operators = set(table["operator"])
    wanted = context.options["operator"]
    table = table[table["operator"] == (wanted if wanted in operators else min(operators))]
    return table[table["step"] == paper_step(table["step"])]


def paper_step(steps: Iterable[int]) -> int:
    """Return the noise level that is shown: of those measured, the nearest to the paper's, least noise first."""
    return min(sorted(set(steps)), key=lambda step: abs(step - PAPER_STEP))


OPERATORS = {
    "eps": "noise prediction", "x0": "x0 estimate", "denoiser": "denoiser (x0 estimate by image plus noise)",
}  # fmt: skip


def size_of(context: Context, dataset: str) -> int:
    """Return the dimension of a dataset's images."""
    about = context.plan["datasets"][dataset]
    return about["channels"] * about["resolution"] ** 2


def looks(context: Context) -> dict[str, dict]:
    """Return colour and marker of each model of the suite, the same in all figures.

    Colours are families, controls are grey; a variant of another model is hollow.  No two models share both, unless a
    family has more of them than there are markers.
    """
    models, found = context.plan["models"], {}
    controls = [m for m in models if models[m]["family"] in CONTROLS]
    families = list(dict.fromkeys(models[m]["family"] for m in models if m not in controls))
    for model, info in models.items():
        same = controls if model in controls else [m for m in models if models[m]["family"] == info["family"]]
        number = 0 if model in controls else families.index(info["family"])
        colour = "0.35" if model in controls else PALETTE[number % len(PALETTE)]
        # families that share a colour begin with different markers
        place = same.index(model) + number // len(PALETTE) * 5
        found[model] = {
            "color": "white" if info["baseline"] else colour, "markeredgecolor": colour,
            "marker": MARKS[place % len(MARKS)], "line": colour,
        }  # fmt: skip
    return found


def level(table: pd.DataFrame) -> str:
    """Return the noise level of rows of one step, in words."""
    sigma = table["sigma"].iloc[0]
    return f"step {table['step'].iloc[0]}" + (
        "" if pd.isna(sigma) else f" (noise {sigma:.2g} of the image's scale)"
    )


def noise(context: Context, step: int) -> str:
    """Return a step's noise level in words; its sigma is taken from the suite's Jacobians, where it has any."""
    table = context.table[context.table["metric"] == "jacobian_eigenvalue"]
    same = table[field(table, "step") == str(step)]
    sigma = field(same, "sigma").astype(float)
    return level(same.assign(step=step, sigma=sigma)) if len(same) else f"step {step}"

"""From memorising to generalizing: gap, copies and headroom against N.

A network that memorises has a gap near the memoriser's and copies its training images; one that generalizes has a gap
near zero and denoises unseen images better than the best linear filter of the whole pool (headroom above zero). The
memoriser is the optimal denoiser of the N images, Wiener their best linear filter; neither is trained.
"""

from __future__ import annotations

import math

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from bench.report.context import Context
from bench.report.curves import Line, Panel, band, colour, grid, places
from bench.report.items import Item
from bench.report.style import GREY, SMALL, size
from bench.results.measures import SMALLEST
from bench.results.tidy import at, in_pixels, protocol_field

ITEM = Item("Transition", measures=("psnr", "memorization"), group="Findings")
BOUNDS = ("memoriser", "wiener")
CLOSE = 0.3  # of the logarithms of two gaps whose signs would lie on each other


def draw(context: Context) -> tuple[Figure, str]:
    """Draw a row for each dataset, a column for each number; networks in colour, both bounds in grey."""
    tables = {
        "PSNR gap (dB)": _rows(context, "psnr_gap_mean"),
        "share of copies (%)": _copies(context),
        "headroom (dB)": _headroom(context),
    }
    first = tables["PSNR gap (dB)"]
    models, datasets = context.networks(context.rows("psnr_gap_mean")), _datasets(context, first)
    if not datasets:
        raise context.needs("networks at two N or more", instead="list several train_sizes")
    panels: list[Panel] = []
    for dataset in datasets:
        for name, table in tables.items():
            here = at(table, dataset=dataset)
            panel = Panel("" if len(panels) >= len(tables) else name, context.title(dataset))
            own = places(context, models).items()
            panel.lines = [Line(at(here, model=m), context.label(m), k, k, k) for m, k in own]
            panel.lines += _bounds(context, here)
            panels.append(panel)
    figure, axes = grid(panels, len(tables), 1.7, "training images N", "train_size", share=False)
    sizes = sorted(first["train_size"].unique())
    for place, ax in enumerate(axes):
        ax.set_xscale("log")
        ax.margins(x=0.12)
        ax.set_xticks(sizes, [f"{n:,}" for n in sizes])
        ax.xaxis.set_minor_locator(NullLocator())
        if place % len(tables) == 0:
            ax.set_yscale("log")
            ax.yaxis.set_major_formatter("{x:g}")
            ax.yaxis.set_minor_locator(NullLocator())
            dataset = datasets[place // len(tables)]
            _signs(ax, context, at(first, dataset=dataset), dataset, models)
        if place % len(tables) == 2:
            ax.axhline(0, color=GREY, linewidth=0.6)
    ratio = float(protocol_field(context.rows("memorized_share"), "ratio").iloc[0])
    return figure, (
        "Against N: mean PSNR gap; share of samples that are copies, whose distance to the nearest training image is less "
        f"than {ratio:.2g} times that to the second nearest; headroom, the test PSNR above that of the linear filter "
        "of the whole pool. Grey: the optimal denoiser of the N images (Memoriser) and their best linear filter (Wiener). "
        f"{context.shuffles(first).capitalize()}{band(first)}. "
        f"{_found(context, tables, models, datasets[0])}"
    )


def _signs(ax: Axes, context: Context, gaps: pd.DataFrame, dataset: str, models: list[str]) -> None:
    """Write the sign of each cell's state above its gap; signs of coinciding gaps are side by side."""
    for n, here in gaps.groupby("train_size"):
        written: list[float] = []
        for model, place in places(context, models).items():
            mean = max(at(here, model=model)["value"].mean(), SMALLEST)
            if sign := context.mark(model, dataset, int(n)).strip():
                aside = 6 * sum(abs(math.log(mean / other)) < CLOSE for other in written)
                look = {"textcoords": "offset points", "color": colour(place), "fontsize": SMALL}
                ax.annotate(sign, (n, mean), (aside, 2), **look)
                written.append(mean)


def _rows(context: Context, metric: str, **where: str) -> pd.DataFrame:
    """Return the item's rows of a metric, and those of both bounds whatever models the item lists."""
    rows = context.rows(metric, **where)
    bounds = [context.control(metric, family, **where) for family in BOUNDS]
    known = [bound[~bound["model"].isin(rows["model"])] for bound in bounds]
    return pd.concat([rows, *(bound[bound["dataset"].isin(rows["dataset"])] for bound in known)])


def _datasets(context: Context, gap: pd.DataFrame) -> list[str]:
    """Return the datasets on which a network was trained at two N or more."""
    counts = gap[gap["model"].isin(context.networks(gap))].groupby("dataset")["train_size"].nunique()
    return [dataset for dataset in context.ordered(gap, "dataset") if counts.get(dataset, 0) > 1]


def _copies(context: Context) -> pd.DataFrame:
    rows = in_pixels(_rows(context, "memorized_share", split=""))
    return rows.assign(value=100 * rows["value"])


def _headroom(context: Context) -> pd.DataFrame:
    """Return test PSNR above that of the pool's linear filter at the same N and shuffle."""
    rows = _rows(context, "psnr_mean", split="test")
    pool = context.control("psnr_mean", "wiener-pool", split="test")
    if not len(pool):
        raise context.needs(
            "the linear filter of the whole pool (wiener-pool)", instead="add it under `runs`"
        )
    keys = ["dataset", "train_size", "shuffle"]
    both = rows.merge(pool[[*keys, "value"]], on=keys, suffixes=("", "_pool"))
    return both.assign(value=both["value"] - both["value_pool"])


def _bounds(context: Context, here: pd.DataFrame) -> list[Line]:
    names = {info["family"]: model for model, info in context.plan["models"].items()}
    known = [(dash, names[family]) for dash, family in enumerate(BOUNDS, 1) if family in names]
    return [Line(at(here, model=model), context.label(model), GREY, dash) for dash, model in known]


def _found(context: Context, tables: dict[str, pd.DataFrame], models: list[str], dataset: str) -> str:
    """Return a sentence on the first network: where its copies end, and where it has headroom."""
    copies, room = (
        at(tables[name], dataset=dataset, model=models[0]).groupby("train_size")["value"].mean()
        for name in ("share of copies (%)", "headroom (dB)")
    )
    parts = [f"{share:.1f} % at {size(n)}" for n, share in copies.items()]
    above = [size(n) for n, value in room.items() if value > 0]
    where = (
        f"it denoises better than the filter at {', '.join(above)}"
        if above
        else "it has no headroom at any N"
    )
    return f"{context.label(models[0])} on {context.title(dataset)}: copies {', '.join(parts)}; {where}."

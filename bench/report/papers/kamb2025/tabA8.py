"""Agreement of networks with closed forms of their own images.

Correlation of a sample with the machine's from the same noise, median over noises; in brackets R2, which also depends on
scale and brightness and can be negative. What the paper calls r2 is the correlation, not its square. A high correlation with
the ideal denoiser is memorisation. The linear filter, which is not in the paper, shows what the covariance alone explains.
"""

from __future__ import annotations

import pandas as pd

from bench.report.context import Context
from bench.report.items import Item
from bench.report.papers.kamb2025.machines import MACHINES, METRIC, ordered, own
from bench.report.table import Table
from bench.results.tidy import at

ITEM = Item(
    "Table A8",
    measures=("agreement", "psnr"),
    counterpart="correlations of UNets and ResNets with ELS, LS and the ideal denoiser, 32x32, whole training sets",
)
PRINTED = "Table of correlations, 150 network steps"


def build(context: Context) -> Table:
    """Build a row for each dataset, network and N; the highest correlation of a row is bold."""
    found, machines = context.rows(METRIC), ordered(context.rows(METRIC)["split"])
    r2, beats = context.rows("agreement_sample_r2"), context.rows("agreement_beats_ideal")
    cells: list[list] = []
    numbers: list[list] = []
    bold = set()
    for dataset, model, size, rows in context.groups(found, "dataset", "model", "train_size"):
        where = {"dataset": dataset, "model": model, "train_size": size}
        means = rows.groupby("split")["value"].mean()
        squares, share = (at(table, **where).groupby("split")["value"].mean() for table in (r2, beats))
        test = at(context.tidy, metric="psnr_mean", split="test", recipe="", **where)["value"].mean()
        name = context.label(model) + context.mark(model, dataset, size)
        bold.add((len(cells), 3 + max(range(len(machines)), key=lambda k: means[machines[k]])))
        shown = [f"{means[m]:.2f} ({squares[m]:.2f})".replace("-", "−") for m in machines]
        more = [f"{share[own(context, model)]:.2f}", f"{test:.2f}"]
        cells.append([context.title(dataset), name, f"{size:,}", *shown, *more])
        numbers.append([*where.values(), *(v for m in machines for v in (means[m], squares[m])), *more])
    heads = ["dataset", "network", "N", *(MACHINES[m] for m in machines), "> ideal", "test PSNR"]
    plain = [
        *where,
        *(f"{m}_{kind}" for m in machines for kind in ("correlation", "r2")),
        "beats_ideal",
        "psnr",
    ]
    return Table(
        pd.DataFrame(cells, columns=heads), pd.DataFrame(numbers, columns=plain), _caption(context, found),
        bold, groups=1,
    )  # fmt: skip


def _caption(context: Context, found: pd.DataFrame) -> str:
    noises, steps = (found["protocol"].iloc[0].split(";")[k].partition("=")[2] for k in (0, 1))
    return (
        f"Correlation (in brackets R², which can be negative) of a network's sample with that of each machine, built from "
        f"the same N images, from the same noise, median over {noises} starting noises, DDIM with {steps} steps; "
        f"{context.shuffles(found)}. > ideal: share of the noises whose sample is closer to that of the machine for the "
        "network's padding (boundary-broken for zeros, equivariant for circular) than to the ideal denoiser's. "
        f"{_finding(context, found)} {_printed(context)}"
    )


def _finding(context: Context, found: pd.DataFrame) -> str:
    """Return how the agreement with the ideal denoiser and with the network's own machine changes with N."""
    model = context.networks(found)[0]
    dataset = context.ordered(rows := at(found, model=model), "dataset")[0]
    values = at(rows, dataset=dataset).groupby(["train_size", "split"])["value"].mean()
    sizes = sorted({size for size, _ in values.index})
    parts = [
        f"{values[n, own(context, model)]:.2f} and {values[n, 'ideal']:.2f} at N = {n:,}"
        for n in dict.fromkeys((sizes[0], sizes[-1]))
        if (n, "ideal") in values.index
    ]
    name = MACHINES[own(context, model)]
    where = f"{context.label(model)} on {context.title(dataset)}"
    return f"{where}: correlation with the {name} machine and the ideal one {', '.join(parts)}."


def _printed(context: Context) -> str:
    """Return the correlations that the paper prints; its images, sizes and budgets differ from ours."""
    rows = context.printed(PRINTED, metric=METRIC)
    wide = rows.pivot_table(index=["model", "dataset"], columns="split", values="value", sort=False)
    local = wide["boundary-broken"].fillna(wide["equivariant"])
    parts = [
        f"{model} on {dataset} {local[model, dataset]:.2f} / {one['local']:.2f} / {one['ideal']:.2f}"
        for (model, dataset), one in wide.iterrows()
    ]
    return (
        "The paper prints, at 32x32 and for whole training sets, for the machine for the padding / the local one / the "
        f"ideal one (its ELS / LS / IS): {'; '.join(parts)}."
    )

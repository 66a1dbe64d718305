"""Slopes of C-alpha images against the optimum.

Slope of the test PSNR against that of the noisy image. An optimal denoiser has alpha / (alpha + 1); a smaller slope gains
less at low noise. A slope says nothing about the PSNR itself, so the test PSNR and the linear filter are listed, too.
"""

from __future__ import annotations

import pandas as pd

from bench.report.context import Context
from bench.report.items import Item
from bench.report.table import Table
from bench.results.tidy import at

ITEM = Item(
    "Table A9",
    measures=("slope", "psnr"),
    counterpart="slopes of a bias-free UNet at 80x80, N = 100,000, four alphas",
)


def build(context: Context) -> Table:
    """Build a row for each dataset, network and N."""
    rows, optimal = context.rows("psnr_slope"), context.rows("psnr_slope_optimal")
    printed, cells, numbers = context.printed("Figure 4", metric="psnr_slope"), [], []
    for dataset, model, n, own in context.groups(rows, "dataset", "model", "train_size"):
        where = {"dataset": dataset, "model": model, "train_size": n}
        slope, best = own["value"].mean(), at(optimal, **where)["value"].mean()
        test = at(context.tidy, metric="psnr_mean", split="test", recipe="", **where)["value"].mean()
        known = at(printed, dataset=context.title(dataset))["value"]
        text = f"{known.iloc[0]:.2f}" if len(known) and not context.is_control(model) else ""
        name = context.label(model) + context.mark(model, dataset, n)
        signed = f"{slope - best:+.2f}".replace("-", "−")
        cells.append(
            [
                context.title(dataset),
                name,
                f"{n:,}",
                f"{slope:.2f}",
                f"{best:.2f}",
                signed,
                text,
                f"{test:.2f}",
            ]
        )
        numbers.append([*where.values(), slope, best, slope - best, text, test])
    heads = ["dataset", "network", "N", "slope", "optimum", "difference", "in the paper", "test PSNR"]
    low, high = rows["protocol"].iloc[0].removeprefix("between=").split(",")
    last = max(numbers, key=lambda row: row[2])
    return Table(
        pd.DataFrame(cells, columns=heads), pd.DataFrame(numbers, columns=[*where, *heads[3:]]),
        f"Slope of test PSNR against that of the noisy image between {low} and {high} dB, and the optimum alpha / (alpha + "
        f"1); {context.shuffles(rows)}. {context.label(last[1])} on {context.title(last[0])}, N = {last[2]:,}: "
        f"{last[3]:.2f} against {last[4]:.2f}. The paper's slopes are for 80x80 images and N = 100,000.",
        groups=1,
    )  # fmt: skip

"""What a network gains over the linear filter, by noise.

Bands are fifths of the noise levels, 1 the least noisy. Skill is 1 for a perfect estimate, 0 for the linear filter of the
whole train pool, and negative for a worse estimate. In the noisy bands even the optimum gains little, so the mean hides
where networks differ; the share of the optimum's skill says how much of the possible gain was reached.
"""

from __future__ import annotations

import pandas as pd

from bench.report.context import Context
from bench.report.items import Item
from bench.report.table import Table
from bench.results.tidy import at

ITEM = Item("Table A12", measures=("psnr",))
KEYS = ["dataset", "train_size", "model"]
# metric -> head, digits
COLUMNS = {
    "skill_mean": ("Skill, mean", 2),
    "skill_band": ("Skill, band {}", 2),
    "optimum_share_mean": ("Share of the optimum's", 2),
    "psnr_band": ("PSNR (dB), band {}", 1),
}


def build(context: Context) -> Table:
    """Build a row for each dataset, N and model, on test images."""
    context.rows("skill_band", split="test")
    rows = at(context.tidy, split="test", recipe="")
    rows = rows[rows["metric"].isin(COLUMNS)].assign(band=lambda table: table["index"].fillna(0).astype(int))
    wide = rows.pivot_table(index=KEYS, columns=["metric", "band"], values="value")
    shown = [column for metric in COLUMNS for column in wide if column[0] == metric]
    cells = [
        [context.title(dataset), f"{n:,}", context.label(model) + context.mark(model, dataset, n)]
        + [_text(part[column].mean(), COLUMNS[column[0]][1]) for column in shown]
        for dataset, n, model, part in context.groups(wide.reset_index(), "dataset", "train_size", "model")
    ]
    heads = ["Dataset", "N", "Model", *(COLUMNS[metric][0].format(band) for metric, band in shown)]
    plain = wide[shown].set_axis([f"{metric}{band or ''}" for metric, band in shown], axis=1).reset_index()
    caption = (
        "Skill over the linear filter of the whole train pool, 1 - MSE / MSE of the filter, and PSNR, on test images by "
        f"fifth of the noise levels (1: the least noisy); {context.shuffles(rows)}, their mean."
    )
    return Table(pd.DataFrame(cells, columns=heads), plain, caption, groups=2)


def _text(value: float, digits: int) -> str:
    return "" if pd.isna(value) else f"{round(value, digits) + 0.0:.{digits}f}".replace("-", "−")

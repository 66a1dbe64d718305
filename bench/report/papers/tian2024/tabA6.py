"""Ablation of U-DiT.

Each row removes one more part than the row above it (Tian et al. 2024, Table 7 in reverse).
"""

from __future__ import annotations

from bench.report.ablation import ablation_table
from bench.report.context import Context
from bench.report.items import Item
from bench.report.table import Table

ITEM = Item("Table A6", measures=("psnr", "frechet"))


def build(context: Context) -> Table:
    """Build a row for each dataset, N and part."""
    what = {"u-dit": "the parts of U-DiT, one at a time (Tian et al. 2024)"}
    return ablation_table(context, what, "the presets of u-dit")

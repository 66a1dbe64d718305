"""Table A6: the parts of U-DiT, removed one after the other."""

from __future__ import annotations

from bench.report.ablation import Ablation, ablation_table
from bench.report.context import Context
from bench.report.items import Item
from bench.report.table import Table

ITEM = Item(title="Table A6", subject="Ablation of U-DiT", measures=("psnr", "frechet"))
ABLATION = Ablation({"u-dit": "the parts of U-DiT, one at a time (Tian et al. 2024)"}, "the presets of u-dit")


def build(context: Context) -> Table:
    """Build a row for each dataset, N and variant."""
    return ablation_table(context, ABLATION)

"""Encoder against decoder (ASCEND, IU-ViT).

Multiply-adds are equal: 6+2 has six encoder and two decoder blocks. IU-ViT is one reading of its abstract.
"""

from __future__ import annotations

from bench.report.ablation import ablation_table
from bench.report.context import Context
from bench.report.items import Item
from bench.report.table import Table

ITEM = Item("Table A7", measures=("psnr", "frechet"))


def build(context: Context) -> Table:
    """Build a row for each dataset, N and variant."""
    return ablation_table(
        context,
        {
            "ascend": "encoder against decoder at equal multiply-adds (6+2: six encoder and two decoder blocks)",
            "iu-vit": "the parts of IU-ViT (Cao et al. 2022, an interpretation)",
        },
        "ascend-t16 and ascend-t16-symmetric",
    )

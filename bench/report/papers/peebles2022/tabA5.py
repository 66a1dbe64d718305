"""Conditioning blocks of DiT.

Each row swaps the conditioning block and nothing else (Peebles & Xie 2022, Fig. 5).
"""

from __future__ import annotations

from bench.report.ablation import ablation_table
from bench.report.context import Context
from bench.report.items import Item
from bench.report.table import Table

ITEM = Item("Table A5", measures=("psnr", "frechet"))


def build(context: Context) -> Table:
    """Build a row for each dataset, N and block."""
    return ablation_table(
        context,
        {"dit": "the conditioning blocks of DiT against adaLN-Zero (Peebles & Xie 2022)"},
        "dit-t16-in-context, dit-t16-cross-attention and dit-t16-adaln",
        ("in-context", "cross-attention", "adaLN"),
    )

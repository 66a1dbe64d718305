"""Table A5: the conditioning blocks of DiT, adaLN-Zero against the others."""

from __future__ import annotations

from bench.report.ablation import Ablation, ablation_table
from bench.report.context import Context
from bench.report.items import Item
from bench.report.table import Table

ITEM = Item(title="Table A5", subject="Conditioning blocks of DiT", measures=("psnr", "frechet"))
ABLATION = Ablation(
    {"dit": "the conditioning blocks of DiT against adaLN-Zero (Peebles & Xie 2022, Fig. 5)"},
    "dit-t16-in-context, dit-t16-cross-attention and dit-t16-adaln",
    ("in-context", "cross-attention", "adaLN"),
)


def build(context: Context) -> Table:
    """Build a row for each dataset, N and variant."""
    return ablation_table(context, ABLATION)

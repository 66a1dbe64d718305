"""Table A7: where the depth of a transformer sits, and the parts of IU-ViT."""

from __future__ import annotations

from bench.report.ablation import Ablation, ablation_table
from bench.report.context import Context
from bench.report.items import Item
from bench.report.table import Table

ITEM = Item(
    title="Table A7", subject="Encoder against decoder (ASCEND, IU-ViT)", measures=("psnr", "frechet")
)
ABLATION = Ablation(
    {
        "ascend": "encoder against decoder at equal multiply-adds (6+2: six encoder and two decoder blocks)",
        "iu-vit": "the parts of IU-ViT (Cao et al. 2022, an interpretation)",
    },
    "ascend-t16 and ascend-t16-symmetric",
)


def build(context: Context) -> Table:
    """Build a row for each dataset, N and variant."""
    return ablation_table(context, ABLATION)

"""Distance of samples by window size.

The lists of the smaller and the larger windows are assumed: the paper does not give them.
"""

from __future__ import annotations

import pandas as pd

from bench.report.context import Context
from bench.report.items import Item
from bench.report.paired import Pair, paired_table
from bench.report.papers.an2024.roles import changes_in_words, comparisons, others
from bench.report.table import Table
from bench.report.wording import distance_in_words
from bench.results.tidy import at

ITEM = Item(
    "Table 3", measures=("frechet",), counterpart="DiT-XS/1 on CelebA and ImageNet, N = 10,000 and 100,000"
)


def build(context: Context) -> Table:
    """Build a row for each dataset, comparison and N, then networks of other families at the same dataset and N."""
    metric = context.distance
    rows = context.rows(metric)
    known = comparisons(context, {*rows["model"]})
    pairs = []
    compared = pd.concat([context.paired(rows, models) for models in known.values()])
    for name, models in [*known.items(), *(("", (model, "")) for model in others(context, rows))]:
        own = context.paired(rows, models) if models[1] else at(rows, model=models[0])
        own = own.merge(compared[["dataset", "train_size"]].drop_duplicates())
        for dataset, size, _ in context.groups(own, "dataset", "train_size"):
            head = (
                f"{context.variant(models[0])} → {context.variant(models[1])}"
                if models[1]
                else context.named(models[0])
            )
            pairs.append(Pair(dataset, size, models, head, more={"Windows": name}))
    pairs.sort(key=lambda pair: list(context.plan["datasets"]).index(pair.dataset))
    what = f"{distance_in_words(rows)} of the reference and with {changes_in_words(known)};"
    table = paired_table(context, pairs, [metric], what, printed=context.printed("Table 3", metric=metric))
    table.caption += context.windows_of(model for models in known.values() for model in models)
    return table

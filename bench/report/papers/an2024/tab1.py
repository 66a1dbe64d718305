"""Distance of samples with and without local attention.

A lower distance is closer to the training images. It does not tell quality from copying, so the gap and the test PSNR
are listed, too. Rows with a dagger have other seeds and splits and a doubled batch.
"""

from __future__ import annotations

from bench.report.context import Context
from bench.report.items import Item
from bench.report.paired import Pair, paired_table
from bench.report.table import Table
from bench.report.wording import distance_in_words
from bench.results.measures import GAP, TEST
from bench.results.tidy import at

ITEM = Item(
    "Table 1",
    measures=("frechet", "psnr"),
    counterpart="DiT-XS/1 and DiT-S/1 on CelebA, ImageNet and four LSUN categories, 32x32, N = 10,000 and 100,000",
)
DAGGER = "†"


def build(context: Context) -> Table:
    """Build a row for each dataset, pair of models, recipe and N, then one for each network without a local variant.

    Controls follow, at the N at which networks were measured.
    """
    metric = context.distance
    rows = context.rows(metric, recipe=None)
    known = context.pairs(rows, local=True)
    context.about |= {m for m, info in context.plan["models"].items() if not info["baseline"]}
    alone = [(m, "") for m in context.ordered(rows, "model") if not any(m in pair for pair in known)]
    alone = [pair for pair in alone if not context.plan["models"][pair[0]]["baseline"]]
    keys = ["dataset", "train_size", "recipe"]
    cells = rows.loc[rows["model"].isin(context.networks(rows)), keys].drop_duplicates()
    pairs = []
    for models in [*known, *alone]:
        own = context.paired(rows, models) if models[1] else at(rows, model=models[0]).merge(cells)
        for dataset, size, recipe in (
            own.drop_duplicates(keys).sort_values(keys)[keys].itertuples(index=False)
        ):
            head = context.named(models[0]) + (DAGGER if recipe else "")
            head += f" → {context.variant(models[1])}" if models[1] else ""
            pairs.append(Pair(dataset, size, models, head, recipe))
    pairs.sort(key=lambda pair: list(context.plan["datasets"]).index(pair.dataset))
    what = f"{distance_in_words(rows)} without and with local attention;"
    printed = context.printed("Table 1", metric=metric)
    table = paired_table(context, pairs, [metric, GAP, TEST], what, ("global", "local"), printed)
    table.caption += context.windows_of(model for pair in known for model in pair)
    return table

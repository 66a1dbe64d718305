"""Table 1: distance of samples to the training distribution, with and without local attention."""

from __future__ import annotations

import math
from dataclasses import dataclass

import pandas as pd

from bench.report.context import Context
from bench.report.items import Item
from bench.report.paired import CLIPPED, Difference, difference, judged, meaning
from bench.report.protocols import protocol_in_words
from bench.report.table import Table
from bench.results.statistics import Interval

ITEM = Item(
    title="Table 1",
    subject="Distance of samples with and without local attention",
    measures=("frechet", "psnr"),
    counterpart="DiT-XS/1 and DiT-S/1 on CelebA, ImageNet and four LSUN categories, 32x32, N = 10,000 and 100,000",
)

DAGGER = "†"


@dataclass(frozen=True)
class Record:
    """One row: the second model of ``pair`` is empty for a network without a local variant, say a UNet."""

    dataset: str
    pair: tuple[str, str]
    size: int
    recipe: str
    values: list[float]
    gap: list[float]
    test: list[float]
    printed: tuple[float, float] = (math.nan, math.nan)
    change: Interval | None = None


def build(context: Context) -> Table:
    """Build a row for each dataset, pair of models, recipe and N, then one for each network without a local variant.

    Bold marks the better of a pair.
    """
    metric = "fid" if (context.tidy["metric"] == "fid").any() else "frechet"
    rows = context.rows(metric, recipe=None)
    tests, gaps = (context.rows(m, recipe=None) for m in ("psnr_mean", "psnr_gap_mean"))
    tables = (rows, gaps, tests[tests["split"] == "test"])
    pairs = context.pairs(rows, local=True)
    alone = [(m, "") for m in context.ordered(rows, "model") if not any(m in pair for pair in pairs)]
    alone = [pair for pair in alone if not context.plan["models"][pair[0]]["baseline"]]
    records = [record for pair in [*pairs, *alone] for record in _records(context, metric, tables, pair)]
    shown = [context.paired(rows, pair) for pair in pairs] + [
        rows[rows["model"].isin(pair)] for pair in alone
    ]
    return _table(context, metric, pd.concat(shown), records)


def _records(context: Context, metric: str, tables: tuple, pair: tuple[str, str]) -> list[Record]:
    if pair[1]:
        tables = [context.paired(table, pair) for table in tables]
    found, gaps, tests = (table[table["model"].isin(pair)] for table in tables)
    keep, records = ["dataset", "train_size", "recipe"], []
    for dataset, size, recipe in found.drop_duplicates(keep).sort_values(keep)[keep].itertuples(index=False):
        where = {"dataset": dataset, "train_size": size, "recipe": recipe}
        numbers = [[mean_of(table, model=m, **where) for m in pair] for table in (found, gaps, tests)]
        printed, change = (math.nan, math.nan), None
        if pair[1]:
            same = (found["dataset"] == dataset) & (found["train_size"] == size) & (found["recipe"] == recipe)
            change = difference(found[same], pair)
            if metric == "fid":
                rows = context.printed("Table 1")
                printed = tuple(context.print_of(rows, model, dataset, size, recipe) for model in pair)
        records.append(Record(dataset, pair, size, recipe, *numbers, printed, change))
    return records


def mean_of(table: pd.DataFrame, **where: object) -> float:
    for column, value in where.items():
        table = table[table[column] == value]
    return float(table["value"].mean())


def percent(before: float, after: float) -> str:
    """Return the change in percent with its sign."""
    change = 100 * (after - before) / before
    return f"{change:+.2f}%".replace("-", "−")


def _table(context: Context, metric: str, rows: pd.DataFrame, records: list[Record]) -> Table:
    name = "FID" if metric == "fid" else "Fréchet"
    changes = dict(zip(
        [i for i, r in enumerate(records) if r.change], judged([r.change for r in records if r.change], "lower")
    ))  # fmt: skip
    columns = {
        "Dataset": [context.title(r.dataset) for r in records],
        "Model": [context.label(r.pair[0]) + (DAGGER if r.recipe else "") for r in records],
        "N": [f"{r.size:,}" for r in records],
        name: [f"{r.values[0]:.4f}" for r in records],
        f"{name} w/ Local": [f"{r.values[1]:.4f}" if r.pair[1] else "" for r in records],
        "Change": [percent(*r.values) if r.pair[1] else "" for r in records],
    }
    if any(change.interval.count > 1 for change in changes.values()):
        columns["Difference"] = [changes[i].text() if i in changes else "" for i in range(len(records))]
        columns["Verdict"] = [changes[i].word if i in changes else "" for i in range(len(records))]
    for head, key in (("PSNR gap (dB)", "gap"), ("Test PSNR (dB)", "test")):
        columns[head] = [_arrow(getattr(r, key), 2) for r in records]
    if any(not math.isnan(r.printed[0]) for r in records):
        columns["Paper's FID"] = ["" if math.isnan(r.printed[0]) else _arrow(r.printed, 4) for r in records]
    bold = {(i, 3 if r.values[0] < r.values[1] else 4) for i, r in enumerate(records) if r.pair[1]}
    keys = ["dataset", "baseline", "variant", "train_size", "recipe"]
    measures = [
        f"{m}_{w}" for m in (metric, "psnr_gap", "test_psnr", "printed_fid") for w in ("baseline", "variant")
    ]
    numbers = [
        [r.dataset, *r.pair, r.size, r.recipe, *r.values, *r.gap, *r.test, *r.printed] for r in records
    ]
    caption = _caption(context, metric, rows, [*changes.values()])
    return Table(pd.DataFrame(columns), pd.DataFrame(numbers, columns=keys + measures), caption, bold)


def _arrow(values: list[float] | tuple[float, float], digits: int) -> str:
    return " → ".join(f"{value:.{digits}f}" for value in values if not math.isnan(value))


def _caption(context: Context, metric: str, rows: pd.DataFrame, changes: list[Difference]) -> str:
    what = "FID" if metric == "fid" else "Fréchet distance, not a FID"
    return (
        f"{what} (lower is better, better of the two in bold), PSNR gap and test PSNR without → with local attention; "
        f"{context.shuffles(rows)}. {CLIPPED} {meaning(changes)} {protocol_in_words(rows['protocol'].iloc[0])}. "
        f"{context.scope}"
    )

"""Table 1: distance of samples to the training distribution, with and without local attention."""

from __future__ import annotations

import math

import pandas as pd

from bench.report.context import Context
from bench.report.tables.table import Table

DAGGER = "†"


def build(context: Context) -> Table:
    """Build a row for each dataset, pair of models, recipe and N; bold marks the better of the two."""
    metric = "fid" if (context.tidy["metric"] == "fid").any() else "frechet"
    rows = context.rows(metric, recipe=None)
    tests, gaps = (context.rows(m, recipe=None) for m in ("psnr_mean", "psnr_gap_mean"))
    keep = ["dataset", "train_size", "recipe"]
    records = []
    for pair in context.pairs(rows):
        found, own_tests, own_gaps = (
            context.paired(table, pair) for table in (rows, tests[tests["split"] == "test"], gaps)
        )
        for dataset, size, recipe in (
            found.drop_duplicates(keep).sort_values(keep)[keep].itertuples(index=False)
        ):
            where = {"dataset": dataset, "train_size": size, "recipe": recipe}
            values = [mean_of(found, model=model, **where) for model in pair]
            test = [mean_of(own_tests, model=model, **where) for model in pair]
            gap = [mean_of(own_gaps, model=model, **where) for model in pair]
            printed = (
                _printed(context, pair[0], dataset, size, recipe) if metric == "fid" else (math.nan, math.nan)
            )
            records.append((dataset, pair, size, recipe, values, gap, test, printed))
    shown = pd.concat([context.paired(rows, pair) for pair in context.pairs(rows)])
    return _table(context, metric, shown, records)


def mean_of(table: pd.DataFrame, **where: object) -> float:
    for column, value in where.items():
        table = table[table[column] == value]
    return float(table["value"].mean())


def _printed(context: Context, model: str, dataset: str, size: int, recipe: str) -> tuple[float, float]:
    table = context.printed("fid_local_attention")
    if not len(table):
        return math.nan, math.nan
    run = "dagger" if recipe else "default"
    same = (table["model"] == context.label(model)) & (table["dataset"] == context.title(dataset))
    same &= (table["train_size"] == size) & (table["run"] == run)
    cells = table[same].set_index("attention")["fid"]
    return float(cells.get("global", math.nan)), float(cells.get("local", math.nan))


def percent(before: float, after: float) -> str:
    """Return the change in percent with its sign."""
    change = 100 * (after - before) / before
    return f"{change:+.2f}%".replace("-", "−")


def _table(context: Context, metric: str, rows: pd.DataFrame, records: list[tuple]) -> Table:
    name = "FID" if metric == "fid" else "Fréchet"
    cells, numbers, bold = [], [], set()
    for i, (dataset, pair, size, recipe, values, gap, test, printed) in enumerate(records):
        who = context.label(pair[0]) + (DAGGER if recipe else "")
        row = [
            context.title(dataset),
            who,
            f"{size:,}",
            f"{values[0]:.4f}",
            f"{values[1]:.4f}",
            percent(*values),
        ]
        row += [f"{gap[0]:.2f} → {gap[1]:.2f}", f"{test[0]:.2f} → {test[1]:.2f}"]
        if not math.isnan(printed[0]):
            row.append(f"{printed[0]:.4f} → {printed[1]:.4f}")
        cells.append(row)
        numbers.append([dataset, pair[0], pair[1], size, recipe, *values, *gap, *test, *printed])
        bold.add((i, 3 if values[0] < values[1] else 4))
    heads = [
        "Dataset",
        "Model",
        "N",
        name,
        f"{name} w/ Local",
        "Change",
        "PSNR gap (dB)",
        "Test PSNR (dB)",
        "Paper's FID",
    ]
    width = max(map(len, cells))
    frame = pd.DataFrame([row + [""] * (width - len(row)) for row in cells], columns=heads[:width])
    keys = ["dataset", "baseline", "variant", "train_size", "recipe"]
    measures = [
        f"{m}_{w}" for m in (metric, "psnr_gap", "test_psnr", "printed_fid") for w in ("baseline", "variant")
    ]
    return Table(frame, pd.DataFrame(numbers, columns=keys + measures), _caption(context, metric, rows), bold)


def _caption(context: Context, metric: str, rows: pd.DataFrame) -> str:
    what = "FID" if metric == "fid" else "Fréchet distance, not a FID"
    return (
        f"{what} (lower is better, better of the two in bold), PSNR gap and test PSNR without → with local attention; "
        f"{context.shuffles(rows)}. Protocol: {rows['protocol'].iloc[0]}. {context.scope}"
    )

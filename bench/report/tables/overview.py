"""Table A1: every model of a suite, UNets and controls among them, in every number that was measured of it."""

from __future__ import annotations

import math

import pandas as pd

from bench.report.context import Context
from bench.report.curves import field
from bench.report.tables.table import Table

KEYS = ["dataset", "train_size", "model", "recipe"]
# column -> (metric, split, digits, unit, which way is better)
COLUMNS = {
    "Train PSNR (dB)": ("psnr_mean", "train", 2, 1, ""),
    "Test PSNR (dB)": ("psnr_mean", "test", 2, 1, "higher"),
    "PSNR gap (dB)": ("psnr_gap_mean", "train-test", 2, 1, ""),
    "FID": ("fid", "", 2, 1, "lower"),
    "Fréchet": ("frechet", "", 3, 1, "lower"),
    "Copies (%)": ("memorized_share", "", 1, 0.01, ""),
    "Parameters (M)": ("parameters", "", 3, 1e6, ""),
    "GMAC": ("macs", "", 4, 1e9, ""),
}


def build(context: Context) -> Table:
    """Build a row for each dataset, N, model and recipe; bold is the best test PSNR and distance of a dataset and N."""
    tests = context.rows("psnr_mean", recipe=None, split="test")
    values = {name: _values(context, *spec[:2]) for name, spec in COLUMNS.items()}
    values = {name: table for name, table in values.items() if len(table)}
    order = {m: i for i, m in enumerate(context.ordered(tests, "model"))}
    places = {d: i for i, d in enumerate(context.ordered(tests, "dataset"))}
    rows = sorted(
        tests[KEYS].drop_duplicates().itertuples(index=False),
        key=lambda r: (places[r.dataset], r.train_size, order[r.model], r.recipe),
    )
    cells, numbers = [], []
    for row in rows:
        label = context.label(row.model) + (f" ({row.recipe})" if row.recipe else "")
        cell, number = [context.title(row.dataset), label, f"{row.train_size:,}"], [*row]
        for name, table in values.items():
            found = table.get(tuple(row))
            cell.append(_text(found, *COLUMNS[name][2:4]))
            number += [math.nan, math.nan] if found is None else [found.mean(), found.std()]
        cells.append(cell)
        numbers.append(number)
    frame = pd.DataFrame(cells, columns=["Dataset", "Model", "N", *values])
    measures = [f"{_key(name)}{part}" for name in values for part in ("", "_sd")]
    plain = pd.DataFrame(numbers, columns=[*KEYS, *measures])
    return Table(frame, plain, _caption(context, tests), _bold(plain, list(values)))


def _key(name: str) -> str:
    metric, split, *_ = COLUMNS[name]
    return f"{split}_{metric}" if metric == "psnr_mean" else metric


def _values(context: Context, metric: str, split: str) -> dict[tuple, pd.Series]:
    """Return (dataset, N, model, recipe) -> one value for each shuffle; empty where it was not measured."""
    table = context.tidy[(context.tidy["metric"] == metric) & (context.tidy["split"] == split)]
    if metric == "memorized_share":
        table = table[field(table, "space") == "pixels"]
    one = table.groupby([*KEYS, "shuffle"])["value"].mean().reset_index()
    return {key: group["value"] for key, group in one.groupby(KEYS)}


def _text(values: pd.Series | None, digits: int, unit: float) -> str:
    if values is None:
        return ""
    mean = f"{values.mean() / unit:.{digits}f}"
    varies = len(values) > 1 and values.std() > 0
    return f"{mean} ± {values.std() / unit:.{digits}f}" if varies else mean


def _bold(plain: pd.DataFrame, names: list[str]) -> set[tuple[int, int]]:
    bold = set()
    for column, name in enumerate(names, start=3):
        better = COLUMNS[name][4]
        for _, group in plain.groupby(["dataset", "train_size"]) if better else ():
            known = group[_key(name)].dropna()
            if len(known) > 1:
                bold.add((known.idxmax() if better == "higher" else known.idxmin(), column))
    return bold


def _caption(context: Context, tests: pd.DataFrame) -> str:
    spread = " ± one standard deviation over shuffles" if tests["shuffle"].nunique() > 1 else ""
    return (
        f"Every model of the suite; mean{spread}, {context.shuffles(tests)}. Bold: the best of a dataset and N in test PSNR "
        f"and in the distance of samples. A gap counts only beside the test PSNR. {context.scope}"
    )

"""Table A1: every model of a suite, UNets and controls among them, in every number that was measured of it.

Controls are closed forms that are not trained: they stand beside the networks and are no contestants.
"""

from __future__ import annotations

import math

import pandas as pd

from bench.report.context import Context
from bench.report.curves import field
from bench.report.items import Item
from bench.report.paired import CLIPPED
from bench.report.quality import CONTROLS
from bench.report.table import Table

ITEM = Item(
    title="Table A1",
    subject="All models, UNets and controls among them",
    measures=("psnr", "frechet", "memorization", "cost"),
)

KEYS = ["dataset", "train_size", "model", "recipe"]
# column -> (metric, split, digits, unit, which way is better)
COLUMNS = {
    "Train PSNR (dB)": ("psnr_mean", "train", 2, 1, ""),
    "Test PSNR (dB)": ("psnr_mean", "test", 2, 1, "higher"),
    "PSNR gap (dB)": ("psnr_gap_mean", "train-test", 2, 1, ""),
    "Signed gap (dB)": ("psnr_gap_signed_mean", "train-test", 2, 1, ""),
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
    counts = tests.groupby(KEYS)["shuffle"].nunique()
    cells, numbers = zip(*(_row(context, row, values, int(counts[tuple(row)])) for row in rows), strict=True)
    frame = pd.DataFrame(cells, columns=["Dataset", "Model", "Kind", "N", *values])
    measures = [f"{_key(name)}{part}" for name in values for part in ("", "_sd")]
    plain = pd.DataFrame(numbers, columns=[*KEYS, "kind", "shuffles", *measures])
    columns = "lll" + "r" * (len(frame.columns) - 3)
    return Table(frame, plain, _caption(context, tests), _bold(plain, list(values)), columns)


def _row(context: Context, row: tuple, values: dict, shuffles: int) -> tuple[list[str], list]:
    """Return the cells of a row as readers see them, and as numbers."""
    kind = "control" if context.plan["models"][row.model]["family"] in CONTROLS else "trained"
    label = context.label(row.model) + (f" ({row.recipe})" if row.recipe else "")
    cells, numbers = [context.title(row.dataset), label, kind, f"{row.train_size:,}"], [*row, kind, shuffles]
    for name, table in values.items():
        found = table.get(tuple(row))
        cells.append(_text(found, *COLUMNS[name][2:4]))
        numbers += [math.nan, math.nan] if found is None else [found.mean(), found.std()]
    return cells, numbers


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
    if unit > 1 and not float(mean):  # a cost of nothing, or of less than can be shown
        return f"< {10**-digits:.{digits}f}" if values.mean() else "–"
    varies = len(values) > 1 and values.std() > 0
    return (f"{mean} ± {values.std() / unit:.{digits}f}" if varies else mean).replace("-", "−")


def _bold(plain: pd.DataFrame, names: list[str]) -> set[tuple[int, int]]:
    """Return the best trained network of each dataset and N, among those with the most shuffles."""
    bold, trained = set(), plain[plain["kind"] == "trained"]
    for column, name in enumerate(names, start=4):
        better, key = COLUMNS[name][4], _key(name)
        for _, group in trained.dropna(subset=key).groupby(["dataset", "train_size"]) if better else ():
            known = group.loc[group["shuffles"] == group["shuffles"].max(), key]
            if len(known) > 1:
                bold.add((known.idxmax() if better == "higher" else known.idxmin(), column))
    return bold


def _caption(context: Context, tests: pd.DataFrame) -> str:
    spread = " ± one standard deviation over shuffles" if tests["shuffle"].nunique() > 1 else ""
    return (
        f"Every model of the suite; mean{spread}, {context.shuffles(tests)}. Bold: the best trained network of a dataset "
        "and N in test PSNR and in the distance of samples, among those with the most shuffles; controls are closed forms, "
        f"not trained. {CLIPPED} The signed gap is train minus test PSNR as it is. A gap counts only beside the test PSNR. "
        f"{context.scope}"
    )

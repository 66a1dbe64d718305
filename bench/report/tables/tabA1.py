"""All models, UNets and controls among them.

Controls are closed forms that are not trained: they are listed below the networks and not ranked. Read a
gap together with the test PSNR: an underfitted network has a small one. The gap at equal train PSNR, which each
network reaches at a different step, does not have this flaw.
"""

from __future__ import annotations

import math
from collections import Counter
from typing import Any

import numpy as np
import pandas as pd

from bench.report.context import Context
from bench.report.items import Item
from bench.report.paired import CLIPPED
from bench.report.table import Table
from bench.results.measures import ARROWS
from bench.results.tidy import METRICS, at, in_pixels
from bench.results.training_state import NOT_FITTED

ITEM = Item("Table A1", measures=("psnr", "frechet", "memorization", "cost"))
KEYS = ["dataset", "train_size", "model", "recipe"]
EQUAL = "gap_at_train_psnr"
GAIN = "best_gain"  # test PSNR of the best checkpoint minus that of the end, both of `along`
# column -> (metric, split, digits, unit, whether the best is bold)
COLUMNS = {
    "Train PSNR (dB)": ("psnr_mean", "train", 2, 1, False),
    "Test PSNR (dB)": ("psnr_mean", "test", 2, 1, True),
    "Skill": ("skill_mean", "test", 2, 1, False),
    "Gain of stopping early (dB)": (GAIN, "test", 2, 1, False),
    "PSNR gap (dB)": ("psnr_gap_mean", "train-test", 2, 1, False),
    "Signed gap (dB)": ("psnr_gap_signed_mean", "train-test", 2, 1, False),
    "Gap at equal train PSNR (dB)": (EQUAL, "train-test", 2, 1, False),
    "FID": ("fid", "", 2, 1, True),
    "Fréchet": ("frechet", "", 3, 1, True),
    "Copies (%)": ("memorized_share", "", 1, 0.01, False),
    "Parameters (M)": ("parameters", "", 3, 1e6, False),
    "Multiply-adds (M)": ("macs", "", 1, 1e6, False),
}
WORDS = {  # of columns, for the caption
    "Skill": "Skill: 1 minus the squared error over that of the best linear filter, mean over steps.",
    "Gain of stopping early (dB)": "Gain of stopping early: test PSNR at the best validation PSNR minus final test PSNR.",
    "PSNR gap (dB)": CLIPPED,
}


def build(context: Context) -> Table:
    """Build a row for each dataset, N, model and recipe; bold is the best network of a dataset and N that is fitted."""
    tests = context.rows("psnr_mean", recipe=None, split="test")
    values = {name: _values(context, *spec[:2]) for name, spec in COLUMNS.items()}
    values = {name: table for name, table in values.items() if len(table)}
    order = {m: (context.is_control(m), i) for i, m in enumerate(context.ordered(tests, "model"))}
    places = {d: i for i, d in enumerate(context.ordered(tests, "dataset"))}
    rows = sorted(
        tests[KEYS].drop_duplicates().itertuples(index=False),
        key=lambda r: (places[r.dataset], r.train_size, order[r.model], r.recipe),
    )
    counts = tests.groupby(KEYS)["shuffle"].nunique()
    cells, numbers = zip(*(_row(context, row, values, int(counts[tuple(row)])) for row in rows), strict=True)
    heads = [name + ARROWS[_better(name)] for name in values]
    frame = pd.DataFrame(cells, columns=["Dataset", "N", "Model", *heads])
    measures = [f"{_key(name)}{part}" for name in values for part in ("", "_sd")]
    plain = pd.DataFrame(numbers, columns=[*KEYS, "kind", "shuffles", *measures])
    best = _best(context, plain, list(values))
    return Table(frame, plain, _caption(context, tests, plain, best), {place for place, _ in best}, groups=2)


def _better(name: str) -> str:
    """Return which way a column is ranked, '' if it is not."""
    return METRICS[COLUMNS[name][0]].better if COLUMNS[name][4] else ""


def _row(context: Context, row: Any, values: dict, shuffles: int) -> tuple[list[str], list]:
    """Return the cells of a row as readers see them, and as numbers."""
    kind = "control" if context.is_control(row.model) else "trained"
    label = context.named(row.model) + (f" ({row.recipe})" if row.recipe else "")
    label += context.mark(row.model, row.dataset, row.train_size, row.recipe)
    cells, numbers = [context.title(row.dataset), f"{row.train_size:,}", label], [*row, kind, shuffles]
    for name, table in values.items():
        found = table.get(tuple(row))
        cells.append(_text(found, *COLUMNS[name][2:4]))
        numbers += [math.nan, math.nan] if found is None else [found.mean(), found.std()]
    return cells, numbers


def _key(name: str) -> str:
    metric, split, *_ = COLUMNS[name]
    return f"{split}_{metric}" if split in ("train", "test") else metric


def _values(context: Context, metric: str, split: str) -> dict[tuple, pd.Series]:
    """Return (dataset, N, model, recipe) -> one value for each shuffle; empty if it was not measured."""
    table = at(context.tidy, metric="best_psnr_mean" if metric == GAIN else metric, split=split)
    if metric == "memorized_share":
        table = in_pixels(table)
    if metric == EQUAL:
        levels = _levels(context, table)
        cells = zip(table["dataset"], table["train_size"], table["index"])
        table = table[np.array([levels.get((d, n)) == level for d, n, level in cells], dtype=bool)]
    one = table.groupby([*KEYS, "shuffle"])["value"].mean()
    if metric == GAIN:
        along = at(context.tidy, metric="along_psnr_mean", split=split).sort_values("index")
        one = (one - along.groupby([*KEYS, "shuffle"])["value"].last()).dropna()
    return {key: group.reset_index(drop=True) for key, group in one.groupby(KEYS)}


def _levels(context: Context, table: pd.DataFrame) -> dict[tuple[str, int], int]:
    """Return (dataset, N) -> the largest whole dB of train PSNR that all fitted networks reach."""
    found = {}
    for (dataset, n), part in table.groupby(["dataset", "train_size"]):
        fitted = [context.words.get((dataset, model, n)) != NOT_FITTED for model in part["model"]]
        reached = part[fitted].groupby(["model", "recipe", "shuffle"])["index"].agg(set)
        if len(reached) and (common := set.intersection(*reached)):
            found[dataset, n] = int(max(common))
    return found


def _text(values: pd.Series | None, digits: int, unit: float) -> str:
    if values is None:
        return ""
    mean = f"{round(values.mean() / unit, digits) + 0.0:.{digits}f}"  # adding 0 leaves no minus before a zero
    if unit > 1 and not float(mean):  # a cost of nothing, or of less than can be shown
        return f"< {10**-digits:.{digits}f}" if values.mean() else "–"
    varies = len(values) > 1 and values.std() > 0
    return (f"{mean} ± {values.std() / unit:.{digits}f}" if varies else mean).replace("-", "−")


def _best(context: Context, plain: pd.DataFrame, names: list[str]) -> list[tuple[tuple[int, int], str]]:
    """Return (row, column) and model of the best of each dataset, N and ranked column, among the most shuffles."""
    ranked = [context.ranked(r.model, r.dataset, r.train_size) for r in plain.itertuples()]
    found, trained = [], plain[ranked]
    trained = trained[trained["kind"] == "trained"]
    for column, name in enumerate(names, start=3):
        key = _key(name)
        for _, group in (
            trained.dropna(subset=key).groupby(["dataset", "train_size"]) if _better(name) else ()
        ):
            known = group.loc[group["shuffles"] == group["shuffles"].max(), key]
            if len(known) > 1:
                row = known.idxmax() if _better(name) == "higher" else known.idxmin()
                found.append(((row, column), plain.at[row, "model"]))
    return found


def _caption(context: Context, tests: pd.DataFrame, plain: pd.DataFrame, best: list) -> str:
    spread = " ± one standard deviation over shuffles" if tests["shuffle"].nunique() > 1 else ""
    column = 3 + [n for n in COLUMNS if _key(n) in plain].index("Test PSNR (dB)")
    leaders = Counter(context.label(m) for (_, place), m in best if place == column)
    counts = ", ".join(f"{label} in {count}" for label, count in leaders.most_common())
    finding = f"Best in test PSNR, of {leaders.total()} groups: {counts}. " if leaders else ""
    words = [text for name, text in WORDS.items() if _key(name) in plain]
    if levels := _levels(context, at(context.tidy, metric=EQUAL)):
        named = (f"{d} dB ({context.title(dataset)}, N = {n:,})" for (dataset, n), d in levels.items())
        words.append(
            f"Train PSNR is equal at {', '.join(named)}, on the noise levels of `along`; that gap is signed."
        )
    return (
        f"Every model of the suite; mean{spread}, {context.shuffles(tests)}. Bold: the best network of a dataset "
        "and N among those that are fitted and have the most shuffles. "
        f"{finding}{' '.join(words)}"
    )

"""Capacity control."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from bench.report.context import Context
from bench.report.items import Item
from bench.report.table import Table
from bench.report.wording import shuffles_in_words
from bench.support.errors import BenchError

ITEM = Item("Table A3", measures=("psnr",))

AXES = ("width", "depth")


@dataclass(frozen=True)
class Match:
    """The ``size`` whose train PSNR equals a value, and its trained neighbours ``low`` and ``high``.

    All are NaN if the sizes do not bracket the value; ``note`` then says why and what to train.
    """

    size: float
    low: float
    high: float
    note: str = ""


def match(sizes: np.ndarray, values: np.ndarray, target: float) -> Match:
    """Find the size whose value equals ``target``, linear between the ascending ``sizes``, the last the full one.

    Of several such sizes the largest is taken, with a note.
    """
    if values[-1] <= target:
        return _none(f"nothing to match, the full size has {values[-1]:.2f} dB, not more than the local one")
    below = np.flatnonzero(values <= target)
    if not len(below):
        return _none(f"not bracketed, size {sizes[0]:.0f} still has {values[0]:.2f} dB; train a smaller one")
    i = int(below[-1])
    part = (target - values[i]) / (values[i + 1] - values[i])
    met = np.count_nonzero(np.diff(values > target))
    note = f"met {met} times, the largest is taken" if met > 1 else ""
    low, high = float(sizes[i]), float(sizes[i + 1])
    return Match(low + part * (high - low), low, high, note)


def _none(note: str) -> Match:
    return Match(math.nan, math.nan, math.nan, note)


def ladder(models: dict[str, dict], baseline: str, axis: str) -> dict[float, str]:
    """Return size -> preset, ascending: the baseline and what differs from it in ``axis`` (and ``heads``) alone."""
    own = models[baseline]
    found = {
        info["options"][axis]: name
        for name, info in models.items()
        if name == baseline or (info["baseline"] == baseline and _changed(own, info) - {"heads"} == {axis})
    }
    return dict(sorted(found.items()))


def _changed(one: dict, other: dict) -> set[str]:
    """Return the options in which two presets differ, and ``family`` where that differs."""
    first, second = ({**info["options"], "family": info["family"]} for info in (one, other))
    return {key for key in {**first, **second} if first.get(key) != second.get(key)}


def locals_of(models: dict[str, dict]) -> list[tuple[str, str]]:
    """Return (baseline, local preset) of every preset that differs from its baseline in ``windows`` alone."""
    pairs = [(info["baseline"], name) for name, info in models.items() if info["baseline"] in models]
    return [(base, name) for base, name in pairs if _changed(models[base], models[name]) == {"windows"}]


def build(context: Context) -> Table:
    """Build a row for each dataset, local model, axis and N; the size is matched at the smallest N.

    Raises BenchError if the suite has no local model with a smaller sibling of its baseline.
    """
    rows = context.rows("psnr_mean")
    models = {name: context.plan["models"][name] for name in context.ordered(rows, "model")}
    known = context.main_windows(locals_of(models))
    groups = [
        (local, axis, sizes)
        for baseline, local in known
        for axis in AXES
        if len(sizes := ladder(models, baseline, axis)) > 1
    ]
    if not groups:
        what = (
            "a model, its local variant and at least one smaller sibling (same `baseline`, other `width` or `depth`, "
            "like dit-t16-narrow-32)"
        )
        raise context.needs(what, instead="add such models under `runs`")
    records = [
        record
        for dataset in context.ordered(rows, "dataset")
        for local, axis, sizes in groups
        for record in _records(rows[rows["dataset"] == dataset], dataset, local, axis, sizes)
    ]
    if not records:
        raise BenchError(
            f"{context.item} of suite {context.suite!r} has no shuffle and N at which a local model and all sizes "
            "of its baseline were measured; finish the suite."
        )
    return _table(context, models, pd.DataFrame(records))


def _records(rows: pd.DataFrame, dataset: str, local: str, axis: str, sizes: dict[float, str]) -> list[dict]:
    """Return one record for each N that all models were measured at, over the shuffles that all of them have."""
    names = [*sizes.values(), local]
    psnr = rows[rows["model"].isin(names)].pivot_table(
        index=["train_size", "shuffle"], columns=["split", "model"], values="value"
    )
    wanted = [(split, name) for split in ("train", "test") for name in names]
    if not set(wanted) <= set(psnr.columns):
        return []
    by_size = psnr[wanted].dropna().groupby("train_size")
    mean, counts = by_size.mean(), by_size.size()
    widths, found = np.array([*sizes], dtype=float), None
    records = []
    for size, row in mean.iterrows():
        curves = {split: row[split][[*sizes.values()]].to_numpy() for split in ("train", "test")}
        found = found or match(widths, curves["train"], row["train", local])
        at = {split: np.interp(found.size, widths, curve) for split, curve in curves.items()}
        record = {"dataset": dataset, "model": local, "axis": axis, "train_size": size, "size": found.size}
        record |= {"low": found.low, "high": found.high, "full": widths[-1], "note": found.note}
        record |= {"shuffles": int(counts[size])}
        for split in ("train", "test"):
            record |= {f"{split}_psnr_local": row[split, local], f"{split}_psnr_matched": at[split]}
        records.append(record)
    return records


def _table(context: Context, models: dict, numbers: pd.DataFrame) -> Table:
    cells, bold = [], set()
    for i, r in enumerate(numbers.itertuples(index=False)):
        cell = [context.title(r.dataset), context.label(r.model), _size(r, models), f"{r.train_size:,}"]
        for split in ("train", "test"):
            local, matched = getattr(r, f"{split}_psnr_local"), getattr(r, f"{split}_psnr_matched")
            cell += [f"{local:.2f}", "" if math.isnan(matched) else f"{matched:.2f}"]
        if not math.isnan(r.size):
            bold.add((i, 6 if r.test_psnr_local > r.test_psnr_matched else 7))
        cells.append(cell)
    heads = ["Dataset", "Model", "Size of equal train PSNR", "N"]
    heads += [f"{s} PSNR (dB){w}" for s in ("Train", "Test") for w in (", local", ", that size")]
    known = numbers.dropna(subset="size")
    better = int((known["test_psnr_local"] > known["test_psnr_matched"]).sum())
    finding = f"The local network is better in {better} of {len(known)} rows." if len(known) else ""
    caption = (
        "The width or depth at which the network without windows has the local one's train PSNR at N = "
        f"{numbers['train_size'].min():,}, linear between the sizes of this suite, and its interpolated PSNR at "
        f"every N; the better test PSNR in bold; {shuffles_in_words(numbers['shuffles'])}. "
        f"{finding}{context.windows_of(numbers['model'])}"
    )
    return Table(pd.DataFrame(cells, columns=heads), numbers, caption, bold, groups=1)


def _size(record: Any, models: dict) -> str:
    """Return the matched size in words, with the nearest one that can be built."""
    if math.isnan(record.size):
        return f"{record.axis}: {record.note}"
    heads = models[record.model]["options"].get("heads", 1)
    step = math.lcm(4, heads) if record.axis == "width" else 1
    text = f"{record.axis} {record.size:.1f} of {record.full:.0f}"
    text += (
        f" (between {record.low:.0f} and {record.high:.0f}; build {step * max(1, round(record.size / step))})"
    )
    return f"{text}; {record.note}" if record.note else text

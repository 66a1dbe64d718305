"""Paired differences of two models over shuffles, as tables show them."""

from __future__ import annotations

import math
from dataclasses import dataclass

import pandas as pd

from bench.statistics import NO_DIFFERENCE, TOO_FEW, Interval, holm, paired_interval, verdict

_NONE = Interval(math.nan, math.nan, math.nan, math.nan, 0)


@dataclass(frozen=True)
class Difference:
    """``interval`` of second minus first; ``word`` as :func:`bench.statistics.verdict` has it, Holm over a table."""

    interval: Interval
    word: str = ""

    def text(self, digits: int = 2) -> str:
        """Return mean and interval, with sign; without interval where one shuffle was run."""
        found = self.interval
        if not found.count:
            return ""
        mean = signed(found.mean, digits)
        if found.count < 2:
            return mean
        return f"{mean} [{signed(found.low, digits)}, {signed(found.high, digits)}]"


def signed(value: float, digits: int) -> str:
    """Return a number with its sign and a real minus."""
    return f"{value:+.{digits}f}".replace("-", "−")


def difference(table: pd.DataFrame, pair: tuple[str, str]) -> Interval:
    """Return the interval of ``value`` of the second model minus the first, paired by shuffle."""
    wide = table[table["model"].isin(pair)].pivot_table(index="shuffle", columns="model", values="value")
    if not set(pair) <= set(wide.columns):
        return _NONE
    values = (wide[pair[1]] - wide[pair[0]]).dropna()
    return paired_interval(values.tolist()) if len(values) else _NONE


def judged(intervals: list[Interval], better: str) -> list[Difference]:
    """Return the differences of one table with their words, corrected for their number (Holm)."""
    corrected = holm([interval.p for interval in intervals])
    return [
        Difference(i, verdict(i, p, better) if i.count else "")
        for i, p in zip(intervals, corrected, strict=True)
    ]


def meaning(differences: list[Difference]) -> str:
    """Return what the brackets and words of a table mean, for its caption."""
    counts = {d.interval.count for d in differences if d.interval.count}
    if not counts:
        return "No cell has both sides."
    if max(counts) < 2:
        return f"One shuffle: differences have no interval ({TOO_FEW})."
    return (
        "Brackets: paired 95 % t interval over shuffles; words after Holm's correction over the cells of this table "
        f"('{NO_DIFFERENCE}' is not 'equal')."
    )

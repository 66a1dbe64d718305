"""Paired differences of two models over shuffles, as tables show them."""

from __future__ import annotations

import math
from dataclasses import dataclass

import pandas as pd

from bench.report.context import shuffles_in_words
from bench.results.statistics import NO_DIFFERENCE, TOO_FEW, Interval, holm, paired_interval, verdict

UNCORRECTED = "not after correction"  # the cell's own interval excludes 0, Holm over the table does not
CLIPPED = "The PSNR gap is clipped at 0 per step."
_NONE = Interval(math.nan, math.nan, math.nan, 0)


@dataclass(frozen=True)
class Difference:
    """``interval`` of second minus first; ``word`` as :func:`bench.results.statistics.verdict` has it, Holm over a table.

    ``word`` ends in ``UNCORRECTED`` where the interval alone would have said better or worse.
    """

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


def at(table: pd.DataFrame, dataset: str, size: int) -> pd.DataFrame:
    """Return the rows of a dataset and N."""
    return table[(table["dataset"] == dataset) & (table["train_size"] == size)]


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
    return [Difference(i, _word(i, p, better)) for i, p in zip(intervals, corrected, strict=True)]


def _word(interval: Interval, corrected_p: float, better: str) -> str:
    if not interval.count:
        return ""
    word = verdict(interval, corrected_p, better)
    alone = verdict(interval, interval.p, better)
    return word if word == alone else f"{word} ({UNCORRECTED})"


def shuffles(differences: list[Difference]) -> str:
    """Return how many shuffles stand behind the differences, in words."""
    return shuffles_in_words(d.interval.count for d in differences if d.interval.count)


def meaning(differences: list[Difference]) -> str:
    """Return what the brackets and words of a table mean, for its caption."""
    known = [d for d in differences if d.interval.count]
    if not known:
        return "No cell has both sides."
    cells = sum(d.interval.count > 1 for d in known)
    if not cells:
        return f"Differences have no interval ({TOO_FEW})."
    missed = any(UNCORRECTED in d.word for d in known)
    more = f"; '{UNCORRECTED}': the bracket excludes 0, the corrected test does not" if missed else ""
    return (
        "Brackets: paired 95 % t interval over shuffles of this cell alone; the word is the one after Holm's correction "
        f"over the {cells} cells of this table ('{NO_DIFFERENCE}' is not 'equal'{more})."
    )

"""What the figure and the table of the two clocks share: each run's clock with its interval, or its bound."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd

from bench.report.context import Context
from bench.results.tidy import at

NAMES = {"generalization": "samples are best", "memorization": "copies begin"}
CELL = ["dataset", "model", "train_size"]


class Reading(NamedTuple):
    """A clock in a cell, over shuffles: ``step`` (geometric mean) with the ends of its interval; a bound has no ``high``.

    The interval contains those of all shuffles.  If a shuffle has only a bound, so does the cell.
    """

    step: float | None
    low: float
    high: float | None
    shuffles: int

    def text(self) -> str:
        """Return "4,500 [3,400, 7,000]" or "after 8,000"."""
        if self.step is None or self.high is None:
            return f"after {_rounded(self.low)}"
        return f"{_rounded(self.step)} [{_rounded(self.low)}, {_rounded(self.high)}]"


def _rounded(value: float) -> str:
    """Return a number of steps with two digits, whole thousands apart."""
    digits = len(str(int(value))) - 2
    return f"{int(round(value, -digits)) if digits > 0 else int(value):,}"


def readings(context: Context, name: str) -> dict[tuple[str, str, int], Reading]:
    """Return a clock by (dataset, model, N) of the runs that have it, or its bound."""
    ends = ("", "_low", "_high", "_after")
    rows = {end: at(context.tidy, metric=f"{name}_step{end}", recipe="") for end in ends}
    cells = pd.concat([rows[""], rows["_after"]])[CELL].drop_duplicates()
    found = {}
    for cell in cells.itertuples(index=False, name=None):
        own = {end: at(table, **dict(zip(CELL, cell)))["value"] for end, table in rows.items()}
        count = len(own[""]) + len(own["_after"])
        low = min([*own["_low"], *own["_after"]])
        if len(own["_after"]):
            found[cell] = Reading(None, low, None, count)
        else:
            found[cell] = Reading(float(np.exp(np.log(own[""]).mean())), low, max(own["_high"]), count)
    return found


def later(first: Reading, second: Reading) -> str:
    """Return whether the second clock runs later than the first, as far as intervals and bounds show it."""
    if first.high is not None and second.low >= first.high:
        return "later"
    if second.high is not None and first.low >= second.high:
        return "earlier"
    if first.step is None and second.step is None:
        return "neither reached"
    return "no difference shown"

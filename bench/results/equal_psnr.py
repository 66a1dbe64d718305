"""The PSNR gap of two networks at equal train PSNR, read from their checkpoints. Torch-free.

At a fixed number of steps a slower learner seems to generalize: it has fitted less.  So both gaps are read where the two
have the same train PSNR, the lower of the two largest, linear between checkpoints.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd

TRAIN, GAP = "along_psnr_mean", "along_psnr_gap_signed_mean"


class Curve(NamedTuple):
    """Train PSNR and signed PSNR gap (train minus test) at the checkpoints of a run, in dB, both (n,)."""

    train: np.ndarray
    gap: np.ndarray

    def at(self, level: float) -> float:
        """Return the gap where train PSNR first reaches ``level``, linear between checkpoints; NaN outside them."""
        reached = np.flatnonzero(self.train >= level)
        if not len(reached) or (reached[0] == 0 and self.train[0] > level):
            return float("nan")
        i = max(int(reached[0]), 1)
        return float(np.interp(level, self.train[i - 1 : i + 1], self.gap[i - 1 : i + 1]))


def of_run(rows: pd.DataFrame) -> Curve:
    """Return the curve of one run from its rows, at the steps that have both, in their order."""
    train = rows[(rows["metric"] == TRAIN) & (rows["split"] == "train")].set_index("index")["value"]
    gap = rows[rows["metric"] == GAP].set_index("index")["value"]
    both = pd.concat([train, gap], axis=1, join="inner", keys=["train", "gap"]).sort_index()
    return Curve(both["train"].to_numpy(float), both["gap"].to_numpy(float))


def curves(table: pd.DataFrame) -> pd.Series:
    """Return the ``curve`` of each run of the plain recipe that has one, by dataset, N, model and shuffle."""
    rows = table[table["metric"].isin([TRAIN, GAP]) & (table["recipe"] == "")]
    keys = ["dataset", "train_size", "model", "shuffle"]
    found = {key: of_run(run) for key, run in rows.groupby(keys, sort=False)}
    index = pd.MultiIndex.from_tuples([*found], names=keys)
    return pd.Series([*found.values()], index=index, name="curve", dtype=object)


def gaps_at_equal_train_psnr(first: Curve, second: Curve) -> tuple[float, float]:
    """Return both gaps in dB at the lower of the two largest train PSNRs; NaN if a curve does not reach it."""
    if not (len(first.train) and len(second.train)):
        return float("nan"), float("nan")
    level = min(first.train.max(), second.train.max())
    return first.at(level), second.at(level)

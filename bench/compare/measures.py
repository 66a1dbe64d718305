"""What architectures are compared and ranked on."""

from __future__ import annotations

from typing import NamedTuple

import pandas as pd

from bench.results.tidy import METRICS


class Judged(NamedTuple):
    """A number that a verdict is given on: the rows of ``metric`` and ``split`` whose protocol matches ``part``."""

    key: str
    metric: str
    split: str
    part: str  # regular expression
    measured: str  # the measurement that gives it
    name: str  # for readers

    def rows(self, table: pd.DataFrame) -> pd.DataFrame:
        """Return its rows of a tidy table, plain recipes only: others have no counterpart."""
        same = (table["metric"] == self.metric) & (table["split"] == self.split) & (table["recipe"] == "")
        return table[same & table["protocol"].str.contains(self.part, regex=True)]

    @property
    def better(self) -> str:
        """Which way is better: higher, lower, or (for locality) neither, an empty string."""
        return METRICS[self.metric].better


JUDGED = {
    judged.key: judged
    for judged in (
        Judged("psnr_gap", "psnr_gap_mean", "train-test", "", "psnr", "PSNR gap (dB)"),
        Judged("test_psnr", "psnr_mean", "test", "", "psnr", "test PSNR (dB)"),
        Judged("fid", "fid", "", "", "frechet", "FID"),
        Judged("frechet", "frechet", "", "", "frechet", "Fréchet distance"),
        Judged(
            "copies_pixels",
            "memorized_share",
            "",
            "space=pixels;",
            "memorization",
            "share of copies (pixels)",
        ),
        Judged(
            "copies_features",
            "memorized_share",
            "",
            "space=(?!pixels;)",
            "memorization",
            "share of copies (features)",
        ),
        Judged("locality", "attention_distance", "test", "", "attention", "attention distance (tokens)"),
    )
}

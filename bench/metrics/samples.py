"""Samples of a run, which other measurements read. All runs of one image shape share their noise."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from bench.metrics.declare import Measurement, Result
from bench.support.options import STRICT, check, option

if TYPE_CHECKING:
    from bench.jobs.run import Run


@dataclass(frozen=True)
class SamplesOptions:
    """How samples are drawn, for the measurements that look at them."""

    __pydantic_config__ = STRICT

    count: int = option(10_000, "generated images", "assumed")
    sampler: Literal["ddpm", "ddim"] = option("ddpm", "sampler", "assumed")
    steps: int = option(250, "sampling steps", "assumed")
    weights: Literal["ema", "raw"] = option(
        "ema", "weights that draw: the average, or the last ones (training.keep_raw)", "assumed"
    )

    @property
    def protocol(self) -> str:
        """How the samples are drawn, as a row's protocol says it."""
        return f"weights={self.weights};samples={self.count};sampler={self.sampler};steps={self.steps}"

    def __post_init__(self) -> None:
        check(self.count >= 2, f"count must be at least 2, not {self.count}")
        check(self.steps >= 1, f"steps must be at least 1, not {self.steps}")


MEASUREMENT = Measurement(
    "samples",
    SamplesOptions,
    rows={},
    passes=lambda options, run, pixels: options.count * options.steps,
    problem=lambda options, run, datasets: (
        "samples.weights: raw needs training.keep_raw: true"
        if options.weights == "raw" and not run.training.keep_raw
        else None
    ),
)


def measure(run: Run, options: SamplesOptions) -> Result:
    """Draw the samples, uint8 (n, H, W, C); and how they were drawn; no rows."""
    from bench.metrics.numerics.sampling import draw_samples

    return Result(arrays={"samples": draw_samples(run, options), "protocol": np.array(options.protocol)})

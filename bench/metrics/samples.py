"""Samples of a run, which other measurements read. All runs of one image shape share their noise."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from bench.metrics.declare import Measurement, Result
from bench.support.options import STRICT, check, check_least, option

if TYPE_CHECKING:
    from bench.jobs.run import Run


@dataclass(frozen=True)
class SamplesOptions:
    """How samples are drawn, for the measurements that look at them."""

    __pydantic_config__ = STRICT

    count: int = option(10_000, "generated images", "assumed", least=2, most=10_000_000)
    sampler: Literal["ddpm", "ddim"] = option("ddpm", "sampler", "assumed")
    eta: float = option(0.0, "noise of ddim: none at 0, as much as ddpm's at 1")
    variance: Literal["small", "large"] = option(
        "small", "variance of ddpm where none was learned: the posterior's, or beta", "assumed"
    )
    steps: int = option(250, "sampling steps", "assumed", least=1)
    weights: Literal["ema", "raw"] = option(
        "ema", "weights to sample with: the average, or the last ones (training.keep_raw)", "assumed"
    )

    @property
    def protocol(self) -> str:
        """How the samples are drawn, as a row's protocol says it."""
        more = f";eta={self.eta:g}" if self.eta else ""
        more += f";variance={self.variance}" if self.variance != "small" else ""
        return f"weights={self.weights};samples={self.count};sampler={self.sampler};steps={self.steps}{more}"

    def __post_init__(self) -> None:
        check_least(self)
        check(0 <= self.eta <= 1, f"eta must be in [0, 1], not {self.eta}")
        check(self.eta == 0 or self.sampler == "ddim", "eta belongs to the sampler ddim; leave it out")
        check(
            self.variance == "small" or self.sampler == "ddpm",
            "variance belongs to the sampler ddpm; leave it out",
        )


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
    """Draw the samples, uint8 (n, H, W, C), and how they were drawn; no rows."""
    from bench.metrics.numerics.sampling import draw_samples

    return Result(arrays={"samples": draw_samples(run, options), "protocol": np.array(options.protocol)})

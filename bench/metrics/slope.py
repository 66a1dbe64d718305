"""Does a denoiser of C-alpha images reach the optimal slope of output against input PSNR?

After Kadkhodaie et al. 2024, Fig. 4: the optimal denoiser of images that are smooth of order alpha on both sides of a
contour of that smoothness gains alpha / (alpha + 1) dB for each dB of the noisy image.  A slope says nothing about the
PSNR itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from bench.data.options import FAMILIES
from bench.metrics.declare import Margin, Measurement, Result, Row
from bench.support.errors import BenchError
from bench.support.options import STRICT, check, option

if TYPE_CHECKING:
    from bench.data.options import DatasetOptions
    from bench.jobs.run import Run
    from bench.suite.options import RunSpec


@dataclass(frozen=True)
class SlopeOptions:
    """Slope of the test PSNR against that of the noisy image, on datasets with a smoothness alpha."""

    __pydantic_config__ = STRICT

    between: list[float] = option([5.0, 30.0], "PSNR of the noisy image, dB, between which a line is fitted")

    def __post_init__(self) -> None:
        ascending = len(self.between) == 2 and self.between[0] < self.between[1]
        check(ascending, f"between must be two ascending numbers, not {self.between}")


def problem(options: SlopeOptions, run: RunSpec, datasets: Mapping[str, DatasetOptions]) -> str | None:
    """Return a sentence where the dataset has no smoothness."""
    if datasets[run.dataset].family == "contours":
        return None
    return f"slope needs images of a known smoothness alpha, and {run.dataset} has none; leave it out"


MEASUREMENT = Measurement(
    "slope",
    SlopeOptions,
    {
        "psnr_slope": Row("dB/dB", "", "slope of test PSNR against that of the noisy image", Margin(0.02)),
        "psnr_slope_optimal": Row("dB/dB", "", "alpha / (alpha + 1), the optimal denoiser's"),
    },
    needs=("psnr",),
    network=False,
    problem=problem,
)


def fit(sigma: np.ndarray, psnr: np.ndarray, between: list[float]) -> float:
    """Return the slope of PSNR (S,) in dB, peak 2, against that of the noisy images; NaN with fewer than two levels."""
    noisy = 10 * np.log10(4 / sigma**2)
    inside = (noisy >= between[0]) & (noisy <= between[1])
    return float(np.polyfit(noisy[inside], psnr[inside], 1)[0]) if inside.sum() > 1 else float("nan")


def measure(run: Run, options: SlopeOptions, psnr: Result) -> Result:
    """Fit the line; raises BenchError where fewer than two noise levels lie between."""
    found, (low, high) = Result(), options.between
    slope = fit(psnr.arrays["sigma"], psnr.arrays["test"].mean(0), options.between)
    if np.isnan(slope):
        raise BenchError(
            f"slope.between {options.between} holds fewer than two step indices; raise psnr.steps."
        )
    alpha = {**FAMILIES["contours"], **run.dataset.manifest["made"]["parameters"]}["alpha"]
    protocol = f"between={low:g},{high:g}"
    found.add("psnr_slope", slope, "test", protocol=protocol)
    found.add("psnr_slope_optimal", alpha / (alpha + 1), "test", protocol=protocol)
    return found

"""PSNR of the one-step x0 estimate on train and test images, and their gap (An et al. 2024, Eqs. 3 to 5)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from bench.metrics.declare import Margin, Measurement, Result, Row
from bench.support.options import STRICT, check, option

if TYPE_CHECKING:
    from bench.jobs.run import Run

DECIBELS = Margin(0.1)
GAP = Margin(0.1, "log-ratio", floor=0.02)


@dataclass(frozen=True)
class PsnrOptions:
    """PSNR of the one-step x0 estimate on train and test images (paper section 2.1, Eqs. 3-5)."""

    __pydantic_config__ = STRICT

    images: int = option(300, "K, images from each of train and test", "paper")
    steps: int | Literal["all"] = option(50, "respaced step indices; all takes every step", "paper")
    clip: bool = option(True, "clip the x0 estimate to the data range", "assumed")
    unclipped: bool = option(False, "give the PSNR of the unclipped estimate beside it, as psnr_unclipped")

    def __post_init__(self) -> None:
        check(self.images >= 1, f"images must be at least 1, not {self.images}")
        check(self.steps == "all" or self.steps >= 1, f"steps must be all or at least 1, not {self.steps}")

    def passes(self, timesteps: int) -> float:
        """Return how many images pass the network."""
        return 2 * self.images * (timesteps if self.steps == "all" else self.steps)


MEASUREMENT = Measurement(
    "psnr",
    PsnrOptions,
    {
        "psnr": Row("dB", "higher", "PSNR of the one-step x0 estimate at a step index, mean over images"),
        "psnr_mean": Row("dB", "higher", "plain mean of psnr over the step indices", DECIBELS, "test PSNR"),
        "psnr_unclipped": Row("dB", "higher", "psnr of the estimate that is not clipped to the data range"),
        "psnr_unclipped_mean": Row("dB", "higher", "plain mean of psnr_unclipped over the step indices"),
        "psnr_gap": Row("dB", "lower", "train minus test PSNR at a step index, clipped at 0"),
        "psnr_gap_mean": Row("dB", "lower", "plain mean of psnr_gap over the step indices", GAP, "PSNR gap"),
        "psnr_gap_signed": Row("dB", "lower", "train minus test PSNR at a step index"),
        "psnr_gap_signed_mean": Row("dB", "lower", "plain mean of psnr_gap_signed over the step indices"),
    },
    passes=lambda options, run, pixels: options.passes(run.training.timesteps),
)


def measure(run: Run, options: PsnrOptions) -> Result:
    """Measure PSNR on K train images (repeated with fresh noise where N < K) and K test images.

    Values of single images (K, S) are the arrays ``train`` and ``test``; ``train_unclipped`` and
    ``test_unclipped`` where asked for; ``sigma`` (S,) is the noise relative to the image.
    Raises BenchError where the test pool holds fewer than K.
    """
    from bench.metrics.numerics.denoising import on_device, psnr_by_step

    count = options.images
    train = run.train_images(count)
    pools = {"train": train[np.arange(count) % len(train)], "test": run.test_images(count)}
    grid = run.schedule if options.steps == "all" else run.schedule.respace(options.steps)
    clips = {"": options.clip} | ({"_unclipped": False} if options.unclipped else {})
    sigma = np.array([grid.sigma(index) for index in range(len(grid))])
    found = Result(arrays={"timesteps": grid.timesteps, "sigma": sigma})
    means = {}
    for split, images in pools.items():
        values = psnr_by_step(run.model, grid, on_device(images, run.device), tuple(clips.values()))
        for kind, clip, one in zip(clips, clips.values(), values):
            means[kind, split] = one.mean(0)
            found.arrays[split + kind] = one.astype(np.float32)
            _add(found, f"psnr{kind}", means[kind, split], split, _protocol(count, len(grid), clip))
    signed = means["", "train"] - means["", "test"]
    protocol = _protocol(count, len(grid), options.clip)
    _add(found, "psnr_gap", np.maximum(signed, 0), "train-test", protocol)
    _add(found, "psnr_gap_signed", signed, "train-test", protocol)
    return found


def _protocol(images: int, steps: int, clip: bool) -> str:
    return f"images={images};steps={steps};clip={str(clip).lower()}"


def _add(found: Result, metric: str, curve: np.ndarray, split: str, protocol: str) -> None:
    """Add a curve over the step indices and its plain mean."""
    for index, value in enumerate(curve):
        found.add(metric, value, split, "step", index, protocol)
    found.add(f"{metric}_mean", curve.mean(), split, protocol=protocol)

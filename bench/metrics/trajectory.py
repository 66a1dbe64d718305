"""Train-test gap on the network's own sampling trajectory, beside the gap on noisy images.

An et al. 2024 look at noisy train and test images, where sampling need not pass (Kollmann & Kaiser 2026, arXiv 2603.13419).
Here the network's own x0 estimates along DDIM are compared with the nearest of its training images and with the nearest
of as many test images: the difference of the two PSNRs is 0 on average where training images are like any others.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from bench.metrics.declare import Margin, Measurement, Result, Row, lacks_images
from bench.support.options import STRICT, check_least, option

if TYPE_CHECKING:
    from bench.data.options import DatasetOptions
    from bench.jobs.run import Run
    from bench.suite.options import RunSpec


@dataclass(frozen=True)
class TrajectoryOptions:
    """Train-test gap on the network's own sampling trajectory."""

    __pydantic_config__ = STRICT

    noises: int = option(64, "starting noises", least=2)
    steps: int = option(50, "DDIM steps: those of psnr, so that the two gaps are comparable", least=1)
    images: int = option(300, "images of each pool, at most; equally many of both", least=1)

    def __post_init__(self) -> None:
        check_least(self)


def _problem(options: TrajectoryOptions, run: RunSpec, datasets: Mapping[str, DatasetOptions]) -> str | None:
    if datasets[run.dataset].resolution == 1:
        return f"trajectory is of images; {run.dataset} has vectors, leave it out of `measure` of their block"
    return lacks_images("trajectory.images", min(options.images, run.train_size), run, datasets)


MEASUREMENT = Measurement(
    "trajectory",
    TrajectoryOptions,
    {
        "trajectory_psnr": Row(
            "dB", "", "PSNR of the x0 estimate on the sampling trajectory against the nearest image of a pool"
        ),
        "trajectory_gap": Row("dB", "lower", "trajectory_psnr of train minus that of as many test images"),
        "trajectory_gap_mean": Row(
            "dB", "lower", "plain mean of trajectory_gap over the step indices", Margin(0.1), "gap on the trajectory"
        ),
    },
    passes=lambda options, run, pixels: options.noises * options.steps,
    problem=_problem,
)  # fmt: skip


def measure(run: Run, options: TrajectoryOptions) -> Result:
    """Follow the network from shared noises; the index is the step, 0 the least noisy.

    Arrays: ``train`` and ``test`` (S, noises), PSNR against the nearest image, dB.
    """
    from bench.metrics.numerics.denoising import on_device
    from bench.metrics.numerics.machines import follow, starts
    from bench.metrics.numerics.trajectory import nearest_psnr

    grid, count = run.schedule.respace(options.steps), min(options.images, run.spec.train_size)
    path = follow(run.model, grid, starts(run, options.noises))
    pools = {"train": run.train_images(count), "test": run.test_images(count)}
    found = Result()
    protocol = f"noises={options.noises};steps={options.steps};sampler=ddim;images={count}"
    for split, images in pools.items():
        found.arrays[split] = nearest_psnr(path, grid, on_device(images, run.device))
        for step, value in enumerate(found.arrays[split].mean(1)):
            found.add("trajectory_psnr", value, split, "step", step, protocol)
    gap = (found.arrays["train"] - found.arrays["test"]).mean(1)
    for step, value in enumerate(gap):
        found.add("trajectory_gap", value, "train-test", "step", step, protocol)
    found.add("trajectory_gap_mean", np.mean(gap), "train-test", protocol=protocol)
    return found

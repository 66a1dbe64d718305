"""PSNR of the one-step x0 estimate, its gap between train and test images, and its skill over a linear filter.

PSNR and gap are those of An et al. 2024, Eqs. 3 to 5.  The skill, 1 - MSE / MSE of the best linear filter of the whole
train pool, shows what the mean over the steps hides: at more than half of these even an optimal network gains less
than 0.3 dB over that filter.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from bench.data.optima import optimum
from bench.metrics.declare import Arrays, Margin, Measurement, Reference, Result, Row, lacks_images
from bench.support.options import STRICT, check_least, option

if TYPE_CHECKING:
    from bench.diffusion.schedule import Schedule
    from bench.jobs.run import Run

ROOM = 0.02  # skill of the optimum below which a share of it is meaningless
DECIBELS, SHARE = Margin(0.1), Margin(0.01)
GAP = Margin(0.1, "log-ratio", floor=0.02)


@dataclass(frozen=True)
class PsnrOptions:
    """PSNR of the one-step x0 estimate on train, validation and test images (paper section 2.1, Eqs. 3-5)."""

    __pydantic_config__ = STRICT

    images: int = option(300, "K, images of each pool", "paper", least=1)
    steps: int | Literal["all"] = option(50, "respaced step indices; all takes every step", "paper", least=1)
    clip: bool = option(True, "clip the x0 estimate to the data range", "assumed")
    unclipped: bool = option(False, "also report the PSNR of the unclipped estimate, as psnr_unclipped")

    def __post_init__(self) -> None:
        check_least(self)

    def passes(self, timesteps: int) -> float:
        """Return how many images pass the network."""
        return 3 * self.images * (timesteps if self.steps == "all" else self.steps)


ROWS = {
    "psnr": Row("dB", "higher", "PSNR of the one-step x0 estimate at a step index, mean over images"),
    "psnr_mean": Row("dB", "higher", "plain mean of psnr over the step indices", DECIBELS, "test PSNR"),
    "psnr_unclipped": Row("dB", "higher", "psnr of the estimate that is not clipped to the data range"),
    "psnr_unclipped_mean": Row("dB", "higher", "plain mean of psnr_unclipped over the step indices"),
    "psnr_gap": Row("dB", "lower", "train minus test PSNR at a step index, clipped at 0"),
    "psnr_gap_mean": Row("dB", "lower", "plain mean of psnr_gap over the step indices", GAP, "PSNR gap"),
    "psnr_gap_signed": Row("dB", "lower", "train minus test PSNR at a step index"),
    "psnr_gap_signed_mean": Row("dB", "lower", "plain mean of psnr_gap_signed over the step indices"),
    "psnr_band": Row("dB", "higher", "mean of psnr over a fifth of the step indices, 1 the least noisy"),
    "linear_psnr_mean": Row(
        "dB", "", "psnr_mean of the train pool's best linear filter on the same images and noise"
    ),
    "skill": Row(
        "", "higher", "1 - MSE of the network / MSE of the train pool's best linear filter, at a step index"
    ),
    "skill_mean": Row(
        "", "higher", "plain mean of skill over the step indices", SHARE, "skill over the linear filter"
    ),
    "skill_band": Row("", "higher", "mean of skill over a fifth of the step indices, 1 the least noisy"),
    "optimum_share_mean": Row(
        "", "higher", "skill over that of the known optimal denoiser, mean over the step indices"
    ),
    "optimum_share_band": Row("", "higher", "the same by fifth of the step indices, 1 the least noisy"),
}

MEASUREMENT = Measurement(
    "psnr",
    PsnrOptions,
    ROWS,
    references=lambda options, dataset: [Reference(dataset, "wiener")],
    passes=lambda options, run, pixels: options.passes(run.training.timesteps),
    problem=lambda options, run, datasets: lacks_images("psnr.images", options.images, run, datasets),
)


def pools_of(run: Run, count: int) -> dict[str, np.ndarray]:
    """Return K images of each pool by split, uint8; where N < K the train images repeat."""
    train = run.train_images(count)
    pools = {"train": train[np.arange(count) % len(train)]}
    if len(run.dataset.validation):
        pools["validation"] = run.validation_images(count)
    return pools | {"test": run.test_images(count)}


def grid_of(run: Run, options: PsnrOptions) -> Schedule:
    """Return the steps at which PSNR is taken."""
    return run.schedule if options.steps == "all" else run.schedule.respace(options.steps)


def measure(run: Run, options: PsnrOptions, wiener: Arrays) -> Result:
    """Measure PSNR on K train images (repeated with fresh noise where N < K), K validation and K test images.

    The best linear filter of the whole train pool (``wiener``) is evaluated on the same images and noise.
    Values of single images (K, S) are arrays by split, and by ``SPLIT_unclipped`` where asked for; ``sigma`` (S,) is
    the noise relative to the image.  Raises BenchError if a pool holds fewer than K.
    """
    from bench.metrics.numerics.denoising import on_device, psnr_by_step
    from bench.metrics.numerics.wiener import load

    pools, grid = pools_of(run, options.images), grid_of(run, options)
    linear = load(wiener, run.image_size, run.channels, run.schedule, run.device)
    clips = [options.clip, *([False] if options.unclipped else [])]
    images = [on_device(pool, run.device) for pool in pools.values()]
    values, filtered = psnr_by_step([run.model, linear], grid, images, clips)
    sigma = np.array([grid.sigma(index) for index in range(len(grid))])
    found = Result(arrays={"timesteps": grid.timesteps, "sigma": sigma})
    protocol = protocol_of(options, len(grid), options.clip)
    for which, split in enumerate(pools):
        found.arrays[split] = values[which, 0].astype(np.float32)
        _add(found, "psnr", values[which, 0].mean(0), split, protocol)
        _add_bands(found, "psnr_band", values[which, 0].mean(0), split, protocol)
        found.add("linear_psnr_mean", filtered[which, 0].mean(), split, protocol=protocol)
        if options.unclipped:
            found.arrays[f"{split}_unclipped"] = values[which, 1].astype(np.float32)
            _add(
                found,
                "psnr_unclipped",
                values[which, 1].mean(0),
                split,
                protocol_of(options, len(grid), False),
            )
        _add_skill(found, run, sigma, (values[which, 0], filtered[which, 0]), split, protocol)
    signed = values[0, 0].mean(0) - values[-1, 0].mean(0)
    _add(found, "psnr_gap", np.maximum(signed, 0), "train-test", protocol)
    _add(found, "psnr_gap_signed", signed, "train-test", protocol)
    return found


def _add_skill(
    found: Result, run: Run, sigma: np.ndarray, values: tuple[np.ndarray, ...], split: str, protocol: str
) -> None:
    """Add the skill of the network over the linear filter, and its share of the optimum's if that is known."""
    own, linear = (np.mean(10 ** (-one / 10), axis=0) for one in values)  # MSE (S,), peak 1
    skill = 1 - own / linear
    _add(found, "skill", skill, split, protocol)
    _add_bands(found, "skill_band", skill, split, protocol)
    known = optimum(run.dataset.manifest["made"])
    if known is None or split == "train":
        return
    best = 1 - np.array([known(s / 2) for s in sigma]) / linear  # sigma of [-1, 1]: peak 1 halves it
    if best.mean() > ROOM:
        found.add("optimum_share_mean", skill.mean() / best.mean(), split, protocol=protocol)
        for band, part in enumerate(bands(len(sigma)), start=1):
            if best[part].mean() > ROOM:
                share = skill[part].mean() / best[part].mean()
                found.add("optimum_share_band", share, split, "band", band, protocol)


def bands(steps: int) -> list[np.ndarray]:
    """Return the fifths of the step indices 0..steps - 1, or single steps where there are fewer than five."""
    return np.array_split(np.arange(steps), min(5, steps))


def protocol_of(options: PsnrOptions, steps: int, clip: bool) -> str:
    """Return how PSNR is taken, as a row's protocol says it."""
    return f"images={options.images};steps={steps};clip={str(clip).lower()}"


def _add(found: Result, metric: str, curve: np.ndarray, split: str, protocol: str) -> None:
    """Add a curve over the step indices and its plain mean."""
    for index, value in enumerate(curve):
        found.add(metric, value, split, "step", index, protocol)
    found.add(f"{metric}_mean", curve.mean(), split, protocol=protocol)


def _add_bands(found: Result, metric: str, curve: np.ndarray, split: str, protocol: str) -> None:
    for band, part in enumerate(bands(len(curve)), start=1):
        found.add(metric, curve[part].mean(), split, "band", band, protocol)

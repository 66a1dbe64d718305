"""PSNR of the one-step x0 estimate on train and test images, and their gap (An et al. 2024, Eqs. 3 to 5)."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from bench.data.pixels import to_network
from bench.diffusion.schedule import Schedule
from bench.jobs.run import Run
from bench.metrics.measure import Measurement
from bench.metrics.options import PsnrOptions
from bench.support.errors import BenchError
from bench.support.randomness import generator

PEAK = 2.0  # the data range of [-1, 1]
FLOOR = PEAK**2 / (12 * 255**2)  # mean squared rounding error of uint8: PSNR is at most 58.9 dB
BATCH = 128


def psnr(x0: Tensor, images: Tensor) -> Tensor:
    """Return the PSNR of each estimate (B,), in dB, peak 2; the error is floored at the rounding error of uint8."""
    mse = (x0 - images).double().square().flatten(1).mean(1)
    return 10 * torch.log10(PEAK**2 / mse.clamp(min=FLOOR))


@torch.no_grad()
def psnr_by_step(
    model: nn.Module, grid: Schedule, images: Tensor, clips: tuple[bool, ...] = (True,)
) -> np.ndarray:
    """Return PSNR (clips, K, S) of images (K, C, H, W) in [-1, 1] at every step of ``grid``, x0 clipped or not.

    The noise of (image k, step index) is a function of that position alone: it is shared by train image k,
    test image k, all runs and all models of one image shape.
    """
    found = np.empty((len(clips), len(images), len(grid)))
    for index in range(len(grid)):
        noise = torch.randn(images.shape, generator=generator(0, "psnr-noise", index)).to(images.device)
        x_t = grid.q_sample(images, index, noise)
        for rows in torch.arange(len(images), device=images.device).split(BATCH):
            t = torch.full((len(rows),), int(grid.timesteps[index]), device=images.device)
            eps = model(x_t[rows], t)
            for which, clip in enumerate(clips):
                x0 = grid.x0_from_eps(x_t[rows], index, eps, clip)
                found[which, rows.cpu(), index] = psnr(x0, images[rows]).cpu()
    return found


def measure(run: Run, options: PsnrOptions) -> Measurement:
    """Measure PSNR on K train images (repeated with fresh noise where N < K) and K test images.

    Values of single images (K, S) are the arrays ``train`` and ``test``; ``train_unclipped`` and
    ``test_unclipped`` where asked for; ``sigma`` (S,) is the noise relative to the image.
    Raises BenchError where the test pool holds fewer than K.
    """
    count, tests = options.images, len(run.dataset.test)
    if tests < count:
        raise BenchError(
            f"{run.spec.dataset} has {tests} test images, fewer than psnr.images = {count}; lower it."
        )
    train = run.train_images(count)
    pools = {"train": train[np.arange(count) % len(train)], "test": run.test_images(count)}
    grid = run.schedule if options.steps == "all" else run.schedule.respace(options.steps)
    clips = {"": options.clip} | ({"_unclipped": False} if options.unclipped else {})
    sigma = np.array([grid.sigma(index) for index in range(len(grid))])
    found = Measurement(arrays={"timesteps": grid.timesteps, "sigma": sigma})
    means = {}
    for split, images in pools.items():
        pixels = to_network(torch.from_numpy(images)).to(run.device)
        values = psnr_by_step(run.model, grid, pixels, tuple(clips.values()))
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


def _add(found: Measurement, metric: str, curve: np.ndarray, split: str, protocol: str) -> None:
    """Add a curve over the step indices and its plain mean."""
    for index, value in enumerate(curve):
        found.add(metric, value, split, "step", index, protocol)
    found.add(f"{metric}_mean", curve.mean(), split, protocol=protocol)

"""One-step estimates of clean images from noisy ones, on noise that depends on its position alone."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from bench.data.pixels import to_network
from bench.diffusion.schedule import Schedule
from bench.metrics.numerics.parts import in_parts
from bench.support.randomness import generator

PEAK = 2.0  # the data range of [-1, 1]
FLOOR = PEAK**2 / (12 * 255**2)  # mean squared rounding error of uint8: PSNR is at most 58.9 dB
BATCH = 128


def normal(shape: Sequence[int], device: str | torch.device, stream: str, step: int) -> Tensor:
    """Return the standard normal numbers of (stream, step), the same on every device.

    A GPU is not waited for, so that they are drawn while it computes.
    """
    values = torch.randn(tuple(shape), generator=generator(0, stream, step))
    return values if torch.device(device).type == "cpu" else values.pin_memory().to(device, non_blocking=True)


def noisy(images: Tensor, grid: Schedule, index: int, stream: str) -> Tensor:
    """Return x_t of images (K, C, H, W) at a step of ``grid``.

    The noise of image k at a step index depends on (stream, k, index) and the image's shape alone: train image k, test
    image k, all runs and all models share it.
    """
    return grid.q_sample(images, index, normal(images.shape, images.device, stream, index))


def on_device(images: np.ndarray, device: str) -> Tensor:
    """Return uint8 images (K, H, W, C) as network inputs (K, C, H, W) in [-1, 1]."""
    return to_network(torch.from_numpy(images)).to(device)


def psnr(x0: Tensor, images: Tensor) -> Tensor:
    """Return the PSNR of each estimate (B,), in dB, peak 2; the error is floored at the rounding error of uint8."""
    mse = (x0 - images).double().square().flatten(1).mean(1)
    return 10 * torch.log10(PEAK**2 / mse.clamp(min=FLOOR))


@torch.no_grad()
def psnr_by_step(
    models: Sequence[nn.Module], grid: Schedule, pools: Sequence[Tensor], clips: Sequence[bool] = (True,)
) -> np.ndarray:
    """Return PSNR (models, pools, clips, K, S) at every step of ``grid``, of the estimate clipped or not.

    Each pool holds K images (K, C, H, W) in [-1, 1].
    """
    first = pools[0]
    shape = (len(models), len(pools), len(clips), len(first), len(grid))
    found = torch.empty(shape, dtype=torch.float64, device=first.device)
    for index in range(len(grid)):
        noise = normal(first.shape, first.device, "psnr-noise", index)
        for pool, images in enumerate(pools):
            x_t = grid.q_sample(images, index, noise)

            def work(start: int, count: int, pool=pool, images=images, x_t=x_t, index=index) -> None:
                rows = slice(start, start + count)
                t = torch.full((count,), int(grid.timesteps[index]), device=x_t.device)
                for which, model in enumerate(models):
                    eps = model(x_t[rows], t)
                    for k, clip in enumerate(clips):
                        x0 = grid.x0_from_eps(x_t[rows], index, eps, clip)
                        found[which, pool, k, rows, index] = psnr(x0, images[rows])

            in_parts(len(images), BATCH, work)
    return found.cpu().numpy()

"""One-step estimates of clean images from noisy ones, on noise that depends on its position alone."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from bench.data.pixels import to_network
from bench.diffusion.schedule import Schedule
from bench.support.randomness import generator

PEAK = 2.0  # the data range of [-1, 1]
FLOOR = PEAK**2 / (12 * 255**2)  # mean squared rounding error of uint8: PSNR is at most 58.9 dB
BATCH = 128


def noisy(images: Tensor, grid: Schedule, index: int, stream: str) -> Tensor:
    """Return x_t of images (K, C, H, W) at a step of ``grid``.

    The noise of image k at a step index depends on (stream, k, index) and the image's shape alone: train image k, test
    image k, all runs and all models share it.
    """
    noise = torch.randn(images.shape, generator=generator(0, stream, index)).to(images.device)
    return grid.q_sample(images, index, noise)


def on_device(images: np.ndarray, device: str) -> Tensor:
    """Return uint8 images (K, H, W, C) as network inputs (K, C, H, W) in [-1, 1]."""
    return to_network(torch.from_numpy(images)).to(device)


def psnr(x0: Tensor, images: Tensor) -> Tensor:
    """Return the PSNR of each estimate (B,), in dB, peak 2; the error is floored at the rounding error of uint8."""
    mse = (x0 - images).double().square().flatten(1).mean(1)
    return 10 * torch.log10(PEAK**2 / mse.clamp(min=FLOOR))


@torch.no_grad()
def psnr_by_step(
    model: nn.Module, grid: Schedule, images: Tensor, clips: tuple[bool, ...] = (True,)
) -> np.ndarray:
    """Return PSNR (clips, K, S) of images (K, C, H, W) in [-1, 1] at every step of ``grid``, x0 clipped or not."""
    found = np.empty((len(clips), len(images), len(grid)))
    for index in range(len(grid)):
        x_t = noisy(images, grid, index, "psnr-noise")
        for rows in torch.arange(len(images), device=images.device).split(BATCH):
            t = torch.full((len(rows),), int(grid.timesteps[index]), device=images.device)
            eps = model(x_t[rows], t)
            for which, clip in enumerate(clips):
                x0 = grid.x0_from_eps(x_t[rows], index, eps, clip)
                found[which, rows.cpu(), index] = psnr(x0, images[rows]).cpu()
    return found

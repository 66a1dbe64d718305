"""Estimates along a sampling trajectory against the nearest image of a pool."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from bench.diffusion.schedule import Schedule
from bench.metrics.numerics.denoising import FLOOR, PEAK
from bench.metrics.numerics.machines import Trajectory


@torch.no_grad()
def nearest_psnr(path: Trajectory, grid: Schedule, images: Tensor) -> np.ndarray:
    """Return the PSNR (S, B), dB, of the clipped x0 estimates on a trajectory against the nearest of images (K, C, H, W)."""
    pool = images.double().flatten(1)
    found = []
    for index, (x, eps) in enumerate(zip(path.x, path.eps)):
        x0 = grid.x0_from_eps(x, index, eps, clip=True).double().flatten(1)
        mse = (
            torch.cdist(x0, pool, compute_mode="donot_use_mm_for_euclid_dist").amin(1).square() / x0.shape[1]
        )
        found.append(10 * torch.log10(PEAK**2 / mse.clamp(min=FLOOR)))
    return torch.stack(found).cpu().numpy()

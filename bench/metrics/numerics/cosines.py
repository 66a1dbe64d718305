"""Cosines of images with their means removed."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from bench.diffusion.schedule import Schedule
from bench.metrics.numerics.denoising import BATCH, noisy
from bench.metrics.numerics.parts import in_parts


def directions(images: Tensor) -> Tensor:
    """Return images (n, ...) as vectors (n, d) float64 with mean 0 and length 1; a constant image as zeros."""
    flat = images.double().flatten(1)
    flat = flat - flat.mean(1, keepdim=True)
    return flat / flat.norm(dim=1, keepdim=True).clamp(min=1e-12)


def cosine(first: Tensor | np.ndarray, second: Tensor | np.ndarray) -> np.ndarray:
    """Return the cosine of each pair of images (n, ...), their means removed, (n,) in [-1, 1]."""
    pair = (directions(torch.as_tensor(images)) for images in (first, second))
    return (next(pair) * next(pair)).sum(1).cpu().numpy()


@torch.no_grad()
def cosines_by_step(pair: Sequence[nn.Module], grid: Schedule, images: Tensor) -> dict[str, np.ndarray]:
    """Return the cosines of two networks' noise predictions and of their x0 estimates, each (K, S).

    ``images`` (K, C, H, W) in [-1, 1] have the noise of the PSNR; x0 is clipped to that range.
    """
    found = {name: np.empty((len(images), len(grid))) for name in ("eps", "x0")}
    for index in range(len(grid)):
        x_t = noisy(images, grid, index, "psnr-noise")

        def work(first: int, count: int, index=index, x_t=x_t) -> None:
            rows = slice(first, first + count)
            t = torch.full((count,), int(grid.timesteps[index]), device=x_t.device)
            eps = [model(x_t[rows], t) for model in pair]
            x0 = [grid.x0_from_eps(x_t[rows], index, value, clip=True) for value in eps]
            found["eps"][rows, index], found["x0"][rows, index] = cosine(*eps), cosine(*x0)

        in_parts(len(images), BATCH, work)
    return found


def most_similar(images: np.ndarray, others: np.ndarray, mirrored: bool) -> np.ndarray:
    """Return the cosine of each image with the most similar of ``others``, or of their mirror images, (n,)."""
    own, found = directions(torch.tensor(images)), torch.full((len(images),), -1.0, dtype=torch.float64)
    for first in range(0, len(others), 4096):
        part = others[first : first + 4096]
        for copy in (part, part[:, :, ::-1]) if mirrored else (part,):
            found = torch.maximum(found, (own @ directions(torch.tensor(copy.copy())).T).max(1).values)
    return found.numpy()

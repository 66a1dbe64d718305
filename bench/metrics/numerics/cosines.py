"""Cosines of images with their means removed."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor


def directions(images: Tensor) -> Tensor:
    """Return images (n, ...) as vectors (n, d) float64 with mean 0 and length 1; a constant image as zeros."""
    flat = images.double().flatten(1)
    flat = flat - flat.mean(1, keepdim=True)
    return flat / flat.norm(dim=1, keepdim=True).clamp(min=1e-12)


def cosine(first: Tensor, second: Tensor) -> np.ndarray:
    """Return the cosine of each pair of images (n, ...), their means removed, (n,) in [-1, 1]."""
    return (directions(first) * directions(second)).sum(1).cpu().numpy()


def most_similar(images: np.ndarray, others: np.ndarray, mirrored: bool) -> np.ndarray:
    """Return the cosine of each image with the most similar of ``others``, or of their mirror images, (n,)."""
    others = np.concatenate([others, others[:, :, ::-1]]) if mirrored else others
    own = directions(torch.tensor(images))
    found = [own @ directions(torch.tensor(others[i : i + 4096])).T for i in range(0, len(others), 4096)]
    return torch.stack([block.max(1).values for block in found]).max(0).values.numpy()

"""Weights and images of a stored DINOv2, from numpy's frozen generator, so that only its outputs are stored."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor


def weights(shapes: dict[str, list[int]]) -> dict[str, Tensor]:
    """Return random weights by name: 1 + 0.3 z for norms and factors, z over the square root of the inputs for maps."""
    draws = np.random.RandomState(0)
    found = {}
    for name, shape in sorted(shapes.items()):
        z = draws.standard_normal(shape)
        if len(shape) == 1:
            z = 0.3 * z + (name.endswith("gamma") or ("norm" in name and name.endswith("weight")))
        elif name.endswith("weight"):
            z = z / np.sqrt(np.prod(shape[1:]))
        found[name] = torch.from_numpy(z.astype(np.float32))
    return found


def inputs() -> Tensor:
    """Return normalised images (2, 3, 224, 224)."""
    return torch.from_numpy(np.random.RandomState(1).standard_normal((2, 3, 224, 224)).astype(np.float32))

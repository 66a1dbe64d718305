"""Between what pools hold and what networks see: float32, channels first; pixels in [-1, 1]."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor


def to_network(images: Tensor | np.ndarray) -> Tensor:
    """Return uint8 (B, H, W, C) as float32 (B, C, H, W) in [-1, 1].

    Float32 values are left as they are; vectors (B, d) become (B, d, 1, 1).
    """
    if isinstance(images, np.ndarray):
        images = torch.tensor(images)
    x = images[:, :, None, None] if images.ndim == 2 else images.permute(0, 3, 1, 2)
    return x if images.is_floating_point() else x.float().div_(127.5).sub_(1)


def to_uint8(x: Tensor) -> Tensor:
    """Return float (B, C, H, W) in [-1, 1] as uint8 (B, H, W, C), rounded and clipped."""
    return x.add(1).mul(127.5).round().clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1).contiguous()

"""Weights that no random generator has a part in, and the numbers that a pinned network is held to."""

from __future__ import annotations

import torch
from torch import Tensor, nn


def patterned(model: nn.Module) -> nn.Module:
    """Fill a network with a sine pattern, by names in order, running deviations with 1; in evaluation mode."""
    with torch.no_grad():
        for i, (_, parameter) in enumerate(sorted(model.named_parameters())):
            places = torch.arange(parameter.numel(), dtype=torch.float64)
            parameter.copy_((0.3 * torch.sin(1.7 * places + i)).view(parameter.shape))
        for name, buffer in model.named_buffers():
            if "running" in name:
                buffer.fill_(1)
    return model.eval()


def numbers(out: Tensor) -> list[float]:
    """Return three entries and the root mean square of outputs (2, >= 2, 8, 8), rounded to 5 digits."""
    found = [out[0, 0, 0, 0], out[0, 1, 7, 7], out[1, 1, 2, 5], out.square().mean().sqrt()]
    return [round(value.item(), 5) for value in found]


def inputs() -> tuple[Tensor, Tensor, Tensor]:
    """Return images (2, 2, 8, 8), timesteps and labels."""
    return torch.sin(torch.arange(256.0)).view(2, 2, 8, 8), torch.tensor([0, 700]), torch.tensor([0, 1])

"""Attention maps of a network, layer by layer, and how local they are."""

from __future__ import annotations

import functools
from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor, nn

from bench.models.attention import window_mask
from bench.models.capture import attention_cores, capture_attention

WINDOWS = (3, 5, 7)


def grid_map(weights: Tensor, extra: int) -> Tensor:
    """Return the part (..., T, T) of a map between grid tokens, rows summing to 1 again."""
    inner = weights[..., extra:, extra:]
    return inner / inner.sum(-1, keepdim=True).clamp(min=1e-12)


@functools.lru_cache(maxsize=8)
def _distances(grid: tuple[int, int]) -> Tensor:
    """Return the Euclidean distance between tokens (T, T), float64."""
    place = torch.cartesian_prod(*(torch.arange(n) for n in grid)).double()
    return torch.cdist(place, place)


def locality(weights: Tensor, grid: tuple[int, int]) -> dict[str, float]:
    """Return distance (tokens), entropy (nats) and mass inside windows of maps (..., T, T), averaged over all rows."""
    weights = weights.double()
    mean = weights.flatten(0, -3).mean(0)
    found = {
        "attention_distance": (mean * _distances(grid)).sum(-1).mean(),
        "attention_entropy": torch.special.entr(weights).sum(-1).mean(),
    }
    for window in WINDOWS:
        inside = window_mask(grid, window, 0, torch.device("cpu"))
        found[f"attention_mass_w{window}"] = (mean * inside).sum(-1).mean()
    return {metric: float(value) for metric, value in found.items()}


@dataclass
class Layer:
    """What is gathered of one layer: the sum of its maps, and numbers (overall, then by head) of each image and step."""

    grid: tuple[int, int]
    extra: int
    window: int | None
    total: Tensor | None = None
    numbers: list[list[dict[str, float]]] = field(default_factory=list)

    def add(self, weights: Tensor, heads: bool) -> None:
        """Add the map (1, heads, extra + T, extra + T) of one image."""
        inner = grid_map(weights, self.extra)
        parts = [inner, *(inner[:, h : h + 1] for h in range(inner.shape[1] if heads else 0))]
        kept = inner[0] if heads else inner.mean(1)
        self.total = kept if self.total is None else self.total + kept
        self.numbers.append([locality(part, self.grid) for part in parts])

    def averaged(self) -> np.ndarray:
        """Return the map averaged over images and steps, (heads, T, T)."""
        assert self.total is not None
        return (self.total / len(self.numbers)).numpy().astype(np.float32)


@torch.no_grad()
def layers_of(model: nn.Module, inputs: Iterable[tuple[Tensor, int]], heads: bool) -> list[Layer]:
    """Gather the maps of each layer over noisy images (K, C, H, W) and their timesteps; single heads too if asked."""
    cores = attention_cores(model).items()
    layers = {name: Layer(core.grid, core.extra, core.window) for name, core in cores if core.grid}
    for x_t, timestep in inputs:
        t = torch.tensor([timestep], device=x_t.device)
        for image in x_t.split(1):
            with capture_attention(model) as captured:
                model(image, t)
            for name, layer in layers.items():
                layer.add(captured[name], heads)
    return list(layers.values())

"""Precision, recall, density and coverage of samples: two sets of features seen through balls of k-th neighbours.

Kynkäänniemi et al. 2019 (Eqs. 1 to 3) and Naeem et al. 2020 (Eqs. 3 to 5); exact, with bounded memory.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch

from bench.metrics.numerics.parts import in_parts

BLOCK = 256  # rows of a distance matrix at a time


class Manifold(NamedTuple):
    """Shares in [0, 1]; ``density`` may exceed 1."""

    precision: float
    recall: float
    density: float
    coverage: float


def manifold(real: np.ndarray, drawn: np.ndarray, neighbours: int, device: str = "cpu") -> Manifold:
    """Compare real features (n, d) with those of samples (m, d).

    Around each point lies the ball that reaches to its ``neighbours``-th nearest point of its own set, itself not
    counted.  Precision: samples in a ball of a real image; recall: real images in a ball of a sample; density: balls of
    real images that hold a sample, over ``neighbours``; coverage: balls of real images that hold one.
    """
    centre = real.mean(0)  # distances stay, and rounding gets less
    first, second = (torch.from_numpy(x - centre).to(device) for x in (real, drawn))
    real_radius, drawn_radius = (_radius(x, neighbours) for x in (first, second))
    balls = torch.zeros(len(second), dtype=torch.int64, device=device)
    recalled = torch.zeros(len(first), dtype=torch.bool, device=device)
    covered = torch.zeros_like(recalled)

    def work(start: int, count: int) -> None:
        rows = slice(start, start + count)
        distance = torch.cdist(first[rows], second, compute_mode="donot_use_mm_for_euclid_dist")
        inside = distance < real_radius[rows, None]
        balls.add_(inside.sum(0))
        covered[rows] = inside.any(1)
        recalled[rows] = (distance < drawn_radius).any(1)

    in_parts(len(first), BLOCK, work)
    return Manifold(
        (balls > 0).double().mean().item(),
        recalled.double().mean().item(),
        balls.double().mean().item() / neighbours,
        covered.double().mean().item(),
    )


def _radius(points: torch.Tensor, neighbours: int) -> torch.Tensor:
    """Return the distance of each point to its k-th nearest other one, (n,)."""
    parts: list[torch.Tensor] = []

    def work(start: int, count: int) -> None:
        distance = torch.cdist(
            points[start : start + count], points, compute_mode="donot_use_mm_for_euclid_dist"
        )
        parts.append(distance.kthvalue(neighbours + 1, dim=1).values)  # the nearest is the point itself

    in_parts(len(points), BLOCK, work)
    return torch.cat(parts)

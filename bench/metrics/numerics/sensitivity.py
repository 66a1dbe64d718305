"""Heat maps of gradients, how wide they are, and those of linear optima."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from bench.data.optima import gaussian_covariance, planted_covariance
from bench.data.options import FAMILIES
from bench.data.procedural import PLANTED, planted_pattern

if TYPE_CHECKING:
    from bench.jobs.run import Run

SHARES = (50, 75, 95)  # percent of a map whose square is measured
FAR = 0.25  # of the side: pixels of the pattern beyond this distance are its far part


def evenly(side: int, count: int) -> np.ndarray:
    """Return about ``count`` pixels (P, 2), row and column, on an even grid."""
    across = max(1, round(count**0.5))
    places = ((np.arange(across) + 0.5) * side / across).astype(int)
    return np.stack(np.meshgrid(places, places, indexing="ij"), axis=-1).reshape(-1, 2)


def strokes(run: Run, count: int) -> np.ndarray:
    """Return ``count`` pixels (P, 2) of the planted pattern, evenly along it; none where the data has none."""
    made = run.dataset.manifest["made"]
    if made.get("family") != "planted" or made.get("variant"):
        return np.zeros((0, 2), dtype=int)
    on = np.argwhere(planted_pattern(run.image_size) > 0.5)
    return on[np.linspace(0, len(on) - 1, min(count, len(on))).round().astype(int)]


def heat_maps(model: nn.Module, x_t: Tensor, timestep: int, noise: float, pixels: np.ndarray) -> np.ndarray:
    """Return the maps (P, H, W), each with sum 1, of a model that returns eps, on noisy images (K, C, H, W).

    x0 is a multiple of x_t - ``noise`` eps, so that their gradients have one map.
    """
    rows, columns = torch.from_numpy(pixels.T.copy())
    found = torch.zeros(len(pixels), *x_t.shape[2:], dtype=torch.float64)
    for x in x_t.split(1):
        batch = x.detach().expand(len(pixels), *x.shape[1:]).contiguous().requires_grad_()
        with torch.enable_grad():
            eps = model(batch, torch.full((len(batch),), timestep, device=x.device))
            x0 = (batch - noise * eps)[torch.arange(len(batch)), :, rows, columns].sum()
        found += torch.autograd.grad(x0, batch)[0].abs().sum(1).double().cpu()
    return normalised(found.numpy())


def normalised(maps: np.ndarray) -> np.ndarray:
    """Return maps (P, H, W) of absolute values with sum 1."""
    return np.abs(maps) / np.abs(maps).sum((1, 2), keepdims=True)


def sides(maps: np.ndarray, pixels: np.ndarray) -> dict[int, float]:
    """Return by share in percent the side of the square that holds it, mean over maps (P, H, W) around their pixels.

    Squares reach over the border of the image; between odd sides the share is linear in the side.
    """
    rows, columns = np.indices(maps.shape[1:])
    found = []
    for one, (row, column) in zip(maps, pixels):
        ring = np.maximum(abs(rows - row), abs(columns - column))
        within = np.bincount(ring.ravel(), one.ravel()).cumsum()
        odd = [0, *range(1, 2 * len(within), 2)]
        found.append([np.interp(share / 100, [0, *within], odd) for share in SHARES])
    return dict(zip(SHARES, np.mean(found, axis=0).tolist()))


def cosine(first: np.ndarray, second: np.ndarray) -> float:
    """Return the cosine of maps (P, H, W), mean over P."""
    products = (first * second).sum((1, 2))
    return float((products / np.sqrt((first**2).sum((1, 2)) * (second**2).sum((1, 2)))).mean())


def far_part(maps: np.ndarray, pixels: np.ndarray) -> float:
    """Return which share of maps (P, H, W) of a pattern's pixels lies on its part beyond ``FAR``, mean over P."""
    side = maps.shape[1]
    distance = np.linalg.norm(np.indices((side, side))[None] - pixels[:, :, None, None], axis=1)
    return float((maps * (planted_pattern(side) > 0.5) * (distance > FAR * side)).sum((1, 2)).mean())


class Optimum:
    """The linear optimal denoiser of a dataset, from its options; without one ``covariance`` is None.

    ``stationary`` is the covariance of a planted field without its pattern.
    """

    def __init__(self, made: Mapping[str, Any]) -> None:
        side, family = made["resolution"], made.get("family")
        given = {**FAMILIES.get(str(family), {}), **(made.get("parameters") or {})}
        self.covariance = self.stationary = None
        if made.get("base") or made.get("variant"):
            return
        if family == "gaussian":
            self.covariance = gaussian_covariance(side, **given)
        if family == "planted":
            self.covariance = planted_covariance(side, **given)
            self.stationary = PLANTED * gaussian_covariance(side, given["beta"])

    @staticmethod
    def maps(covariance: np.ndarray, sigma: float, pixels: np.ndarray) -> np.ndarray:
        """Return the heat maps (P, H, W) of the denoiser C (C + sigma^2)^-1, sigma at peak 1."""
        side = round(len(covariance) ** 0.5)
        jacobian = np.linalg.solve(covariance + sigma**2 * np.eye(len(covariance)), covariance)
        return normalised(jacobian[pixels[:, 0] * side + pixels[:, 1]].reshape(-1, side, side))


def numbers(
    own: np.ndarray,
    planted: np.ndarray,
    places: np.ndarray,
    strokes: np.ndarray,
    optimum: Optimum,
    sigma: float,
) -> dict[str, float]:
    """Return what is measured of the maps at evenly spaced ``places`` and at a pattern's ``strokes``, by metric.

    ``sigma`` is the noise relative to [-1, 1], which peak 1 halves.
    """
    found = {f"side_{share}": side for share, side in sides(own, places).items()}
    if optimum.covariance is None:
        return found
    best = optimum.maps(optimum.covariance, sigma / 2, places)
    found |= {f"optimum_side_{share}": side for share, side in sides(best, places).items()}
    found["optimum_cosine"] = cosine(own, best)
    if optimum.stationary is not None:
        best = optimum.maps(optimum.covariance, sigma / 2, strokes)
        found["planted_cosine"] = cosine(planted, best)
        found["stationary_cosine"] = cosine(planted, optimum.maps(optimum.stationary, sigma / 2, strokes))
        found["pattern"], found["optimum_pattern"] = far_part(planted, strokes), far_part(best, strokes)
    return found

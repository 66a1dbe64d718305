"""Procedural families with known optimal denoisers. Float64 throughout, rounded to uint8 at the end.

Image ``i`` depends on (seed, family, i) alone, so a larger pool begins with a smaller one; each pool has its own
range of ``i``, which begins at ``START``, so that no pool moves when another one grows.

The formulas are stated for 32 pixels.  At another side the spectra keep their form over that side's own
frequencies (levels, for haar) and the same mean pixel variance; lengths in pixels scale with side / 32.
With three channels the fields are independent draws; a disk keeps its place and a contour its course, and
each channel has its own grey levels or textures.  The two geometric families follow Kadkhodaie, Guth,
Simoncelli & Mallat 2024 (arXiv 2310.02557), the planted covariance Lukoianov et al. 2025 (arXiv 2509.09672), the
mixture, which is vectors and not images, Bonnaire et al. 2025 (arXiv 2505.17638).  ``bench.data.optima`` has the
optimal denoisers.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from bench.data.options import FAMILIES, DatasetOptions
from bench.support.randomness import numpy_generator

VARIANCE = 0.04  # mean pixel variance of the Gaussian and the Haar field, peak 1
PLANTED = 0.5  # share of it that the field around a planted pattern has
START = {"train": 0, "test": 2**40, "validation": 2**41}

Draws = list[np.random.Generator]  # one generator for each channel


@functools.cache
def gaussian_spectrum(side: int, beta: float = 2.0) -> np.ndarray:
    """Return the eigenvalues (side, side) of the periodic Gaussian field, in ``np.fft.fft2`` order.

    Proportional to (1 + |k|^2)^(-beta/2), with mean 0.04 (the pixel variance).
    """
    k = np.fft.fftfreq(side, 1 / side)
    values = (1 + k[:, None] ** 2 + k[None] ** 2) ** (-beta / 2)
    return values * VARIANCE / values.mean()


def gaussian(draws: Draws, side: int, beta: float) -> np.ndarray:
    """Draw a stationary Gaussian field (side, side, channels), mean 0.5, not clipped."""
    return 0.5 + _field(draws, side, beta)


def _field(draws: Draws, side: int, beta: float) -> np.ndarray:
    noise = np.stack([rng.standard_normal((side, side)) for rng in draws])
    field = np.fft.ifft2(np.fft.fft2(noise) * np.sqrt(gaussian_spectrum(side, beta))).real
    return field.transpose(1, 2, 0)


@functools.cache
def planted_pattern(side: int) -> np.ndarray:
    """Return the letter W (side, side), 1 on its strokes and 0 elsewhere, with soft edges."""
    corners = np.array([(0.1, 0.2), (0.3, 0.8), (0.5, 0.3), (0.7, 0.8), (0.9, 0.2)]) * side
    grid = np.stack(np.meshgrid(*[np.arange(side) + 0.5] * 2), axis=-1)  # (row, column, (x, y))
    distance = np.full((side, side), np.inf)
    for start, end in zip(corners, corners[1:]):
        along = np.clip((grid - start) @ (end - start) / ((end - start) @ (end - start)), 0, 1)
        distance = np.minimum(
            distance, np.linalg.norm(grid - start - along[..., None] * (end - start), axis=-1)
        )
    return np.clip(1.5 - distance / (side / 32), 0, 1)


def planted(draws: Draws, side: int, beta: float, strength: float) -> np.ndarray:
    """Draw a stationary field of half the variance plus a W of normal amplitude (side, side, channels).

    The amplitude ties all pixels of the W to each other, however far apart; mean 0.5, not clipped.
    """
    field = _field(draws, side, beta) * math.sqrt(PLANTED)
    amplitude = strength * np.array([rng.standard_normal() for rng in draws])
    return 0.5 + field + amplitude * planted_pattern(side)[..., None]


def mixture(draws: Draws, side: int, deviation: float) -> np.ndarray:
    """Draw a vector (1, 1, d) from two Gaussians around +-(1, ..., 1), one half of the weight each."""
    sign = 1.0 if draws[0].random() < 0.5 else -1.0
    return (sign + deviation * np.array([rng.standard_normal() for rng in draws])).reshape(1, 1, -1)


@functools.cache
def haar_basis(side: int) -> np.ndarray:
    """Return the orthonormal 1-D Haar basis (side, side), rows are vectors; side is a power of two."""
    basis = np.ones((1, 1))
    while len(basis) < side:
        coarse = np.kron(basis, [1, 1])
        fine = np.kron(np.eye(len(basis)), [1, -1])
        basis = np.vstack([coarse, fine]) / math.sqrt(2)
    return basis


@functools.cache
def haar_prior(side: int) -> tuple[np.ndarray, np.ndarray]:
    """Return p and tau^2 (side, side) of each Haar coefficient: c ~ (1 - p) delta_0 + p N(0, tau^2)."""
    index = np.maximum.outer(np.arange(side), np.arange(side))
    level = np.where(index == 0, 0, 1 + np.floor(np.log2(np.maximum(index, 1)))).astype(int)
    p = np.minimum(1.0, 2.0 ** (1.0 - level))  # 1, 1, 1/2, 1/4, ...
    tau2 = 4.0**-level
    return p, tau2 * VARIANCE / (p * tau2).mean()


def haar(draws: Draws, side: int) -> np.ndarray:
    """Draw a sparse Haar field (side, side, channels), mean 0.5, not clipped."""
    p, tau2 = haar_prior(side)
    coefficients = [(rng.random((side, side)) < p) * rng.standard_normal((side, side)) for rng in draws]
    basis = haar_basis(side)
    return np.stack([0.5 + basis.T @ (c * np.sqrt(tau2)) @ basis for c in coefficients], axis=-1)


class Disk(NamedTuple):
    """Centre and radius in pixels; grey levels inside and outside, one for each channel."""

    cx: float
    cy: float
    radius: float
    inside: np.ndarray
    outside: np.ndarray


def draw_disk(draws: Draws, side: int) -> Disk:
    """Draw one disk: place and size shared by the channels, contrast at least 0.3 in each."""
    unit, place = side / 32, draws[0]
    radius = place.uniform(4 * unit, 10 * unit)
    cx, cy = place.uniform(radius + unit, side - radius - unit, 2)
    levels = np.array([_two_levels(rng) for rng in draws])
    return Disk(cx, cy, radius, levels[:, 0], levels[:, 1])


def _two_levels(rng: np.random.Generator) -> np.ndarray:
    while True:
        levels = rng.random(2)
        if abs(levels[0] - levels[1]) >= 0.3:
            return levels


def disk_image(disk: Disk, side: int) -> np.ndarray:
    """Return the image (side, side, channels) of these parameters: the family's manifold."""
    centre = np.arange(side) + 0.5
    rho = np.hypot(centre[None] - disk.cx, centre[:, None] - disk.cy)[..., None]
    return (
        disk.outside
        + (disk.inside - disk.outside) * (1 + np.tanh((disk.radius - rho) / edge_width(side))) / 2
    )


def edge_width(side: int) -> float:
    """Return the width of a disk's soft edge, pixels."""
    return 0.75 * side / 32


def disks(draws: Draws, side: int) -> np.ndarray:
    """Draw one disk on a plain ground (side, side, channels): 3 + 2 x channels dimensions."""
    return disk_image(draw_disk(draws, side), side)


def contours(draws: Draws, side: int, alpha: float) -> np.ndarray:
    """Draw one C-alpha image (side, side, channels): C-alpha textures on either side of a C-alpha contour."""
    k = np.arange(1, side)
    waves = draws[0].standard_normal((2, side - 1)) * k ** -(alpha + 0.5)
    u = np.arange(side)[:, None] * math.pi * k / side  # periodic on twice the width
    series = (waves[0] * np.cos(u) + waves[1] * np.sin(u)).sum(1)
    height = side * (0.5 + 0.18 * (series - series.mean()) / max(series.std(), 1e-12))
    above = np.clip(height[None] - np.arange(side)[:, None], 0, 1)  # exact area of each pixel above the edge
    textures = [[_texture(rng, side, alpha) for _ in range(2)] for rng in draws]
    return np.clip(np.stack([above * one + (1 - above) * two for one, two in textures], axis=-1), 0, 1)


@functools.cache
def _texture_amplitude(side: int, alpha: float) -> np.ndarray:
    k = np.fft.fftfreq(2 * side, 1 / (2 * side))
    amplitude = np.maximum(np.hypot(k[:, None], k[None]), 1) ** -(alpha + 1)
    return amplitude / math.sqrt((amplitude**2).mean())


def _texture(rng: np.random.Generator, side: int, alpha: float) -> np.ndarray:
    """Draw a texture: a cut of a Gaussian field of unit deviation on twice the size, around a random grey."""
    noise = np.fft.fft2(rng.standard_normal((2 * side, 2 * side)))
    field = np.fft.ifft2(noise * _texture_amplitude(side, alpha)).real
    return 0.5 + rng.uniform(-0.25, 0.25) + 0.12 * field[:side, :side]


DRAW: dict[str, Callable[..., np.ndarray]] = {
    "gaussian": gaussian,
    "haar": haar,
    "disks": disks,
    "contours": contours,
    "planted": planted,
    "mixture": mixture,
}


def generators(family: str, seed: int, index: int, channels: int) -> Draws:
    """Return the generators of image ``index``, one for each channel."""
    return [numpy_generator(seed, f"{family}/{channel}", index) for channel in range(channels)]


def draw(options: DatasetOptions, start: int, count: int) -> np.ndarray:
    """Return images ``start`` to ``start + count``, float64 (count, H, W, C), peak 1, not clipped (vectors as drawn).

    Image ``i`` of a pool has the index ``START[pool] + i``.
    """
    family = options.family or ""
    parameters = {**FAMILIES[family], **options.parameters}
    images = np.empty((count, options.resolution, options.resolution, options.channels))
    for i in range(count):
        draws = generators(family, options.seed, start + i, options.channels)
        images[i] = DRAW[family](draws, options.resolution, **parameters)
    return images


def round_to_uint8(images: np.ndarray) -> np.ndarray:
    """Return images with peak 1 as uint8, clipped and rounded to the nearest level."""
    return np.rint(np.clip(images, 0, 1) * 255).astype(np.uint8)

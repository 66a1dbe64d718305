"""Procedural families with known optimal denoisers. Float64 throughout, rounded to uint8 at the end.

Image ``i`` depends on (seed, family, channel, i) alone, so a larger pool begins with a smaller one.  The
formulas are stated for 32 pixels; lengths scale with the resolution.  The geometric families follow
Kadkhodaie, Guth, Simoncelli & Mallat 2024 (arXiv 2310.02557).
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from bench.data.options import DatasetOptions
from bench.errors import BenchError, nearest
from bench.randomness import numpy_generator

VARIANCE = 0.04  # mean pixel variance of the Gaussian and the Haar field, peak 1


def gaussian_spectrum(side: int, beta: float = 2.0) -> np.ndarray:
    """Return the eigenvalues (side, side) of the periodic Gaussian field in the 2-D Fourier basis.

    Proportional to (1 + |k|^2)^(-beta/2), with mean 0.04.  The optimal denoiser is the Wiener filter
    ``lambda / (lambda + sigma^2)``.
    """
    k = np.fft.fftfreq(side, 1 / side)
    values = (1 + k[:, None] ** 2 + k[None] ** 2) ** (-beta / 2)
    return values * VARIANCE / values.mean()


def gaussian(rng: np.random.Generator, side: int, beta: float = 2.0) -> np.ndarray:
    """Draw one stationary Gaussian field, mean 0.5, not clipped."""
    noise = np.fft.fft2(rng.standard_normal((side, side)))
    return 0.5 + np.fft.ifft2(noise * np.sqrt(gaussian_spectrum(side, beta))).real


def haar_basis(side: int) -> np.ndarray:
    """Return the orthonormal 1-D Haar basis, rows are vectors, (side, side); side is a power of two."""
    if side & (side - 1):
        raise BenchError(f"The haar family needs a resolution that is a power of two, not {side}.")
    basis = np.ones((1, 1))
    while len(basis) < side:
        coarse = np.kron(basis, [1, 1])
        fine = np.kron(np.eye(len(basis)), [1, -1])
        basis = np.vstack([coarse, fine]) / math.sqrt(2)
    return basis


def haar_prior(side: int) -> tuple[np.ndarray, np.ndarray]:
    """Return p and tau^2 of every 2-D Haar coefficient, both (side, side): c ~ (1 - p) delta_0 + p N(0, tau^2)."""
    index = np.maximum.outer(np.arange(side), np.arange(side))
    level = np.where(index == 0, 0, 1 + np.floor(np.log2(np.maximum(index, 1)))).astype(int)
    p = np.array([1.0, 1.0, *(2.0 ** -np.arange(1, 20))])[level]
    tau = 4.0**-level
    return p, tau * VARIANCE / (p * tau).mean()


def haar(rng: np.random.Generator, side: int) -> np.ndarray:
    """Draw one sparse Haar field, mean 0.5, not clipped."""
    p, tau = haar_prior(side)
    present = rng.random((side, side)) < p
    basis = haar_basis(side)
    return 0.5 + basis.T @ (present * rng.standard_normal((side, side)) * np.sqrt(tau)) @ basis


def disk_image(cx: float, cy: float, radius: float, inside: float, outside: float, side: int) -> np.ndarray:
    """Return the disk with these five parameters: the family's manifold."""
    centre = np.arange(side) + 0.5
    rho = np.hypot(centre[None] - cx, centre[:, None] - cy)
    return outside + (inside - outside) * (1 + np.tanh((radius - rho) / (0.75 * side / 32))) / 2


def disks(rng: np.random.Generator, side: int) -> np.ndarray:
    """Draw one disk on a plain ground: a five-dimensional family (optimal MSE 5 sigma^2 as sigma -> 0)."""
    unit = side / 32
    radius = rng.uniform(4 * unit, 10 * unit)
    cx, cy = rng.uniform(radius + unit, side - radius - unit, 2)
    while True:
        inside, outside = rng.random(2)
        if abs(inside - outside) >= 0.3:
            return disk_image(cx, cy, radius, inside, outside, side)


def contours(rng: np.random.Generator, side: int, alpha: float = 2.0) -> np.ndarray:
    """Draw one C-alpha image: two C-alpha textures on either side of a C-alpha contour (slope alpha / (alpha + 1))."""
    k = np.arange(1, side)
    waves = rng.standard_normal((2, side - 1)) * k ** -(alpha + 0.5)
    u = np.arange(side)[:, None] * math.pi * k / side  # periodic on twice the width
    series = (waves[0] * np.cos(u) + waves[1] * np.sin(u)).sum(1)
    height = side * (0.5 + 0.18 * (series - series.mean()) / max(series.std(), 1e-12))
    above = np.clip(height[None] - np.arange(side)[:, None], 0, 1)  # exact area of each pixel above the edge
    first, second = (_texture(rng, side, alpha) for _ in range(2))
    return np.clip(above * first + (1 - above) * second, 0, 1)


def _texture(rng: np.random.Generator, side: int, alpha: float) -> np.ndarray:
    """Draw a texture: a cut of a Gaussian field on twice the size, around a random grey."""
    k = np.fft.fftfreq(2 * side, 1 / (2 * side))
    amplitude = np.maximum(np.hypot(k[:, None], k[None]), 1) ** -(alpha + 1)
    field = np.fft.ifft2(np.fft.fft2(rng.standard_normal((2 * side, 2 * side))) * amplitude).real
    field /= math.sqrt((amplitude**2).mean())
    return 0.5 + rng.uniform(-0.25, 0.25) + 0.12 * field[:side, :side]


DRAW: dict[str, Callable[..., np.ndarray]] = {
    "gaussian": gaussian,
    "haar": haar,
    "disks": disks,
    "contours": contours,
}


def draw(options: DatasetOptions, start: int, count: int) -> np.ndarray:
    """Return images ``start`` to ``start + count`` of a family, float64 (count, H, W, C), peak 1, not clipped.

    Channels are independent draws.  Raises BenchError for an unknown parameter.
    """
    family = DRAW[options.family]
    images = np.empty((count, options.resolution, options.resolution, options.channels))
    known = family.__code__.co_varnames[2 : family.__code__.co_argcount]
    for name in options.parameters:
        if name not in known:
            raise BenchError(f"The family {options.family!r} has no parameter {name!r}{nearest(name, known)}.")
    for i in range(count):
        for channel in range(options.channels):
            rng = numpy_generator(options.seed, f"{options.family}/{channel}", start + i)
            images[i, :, :, channel] = family(rng, options.resolution, **options.parameters)
    return images


def round_to_uint8(images: np.ndarray) -> np.ndarray:
    """Return images with peak 1 as uint8, clipped and rounded to the nearest level."""
    return np.rint(np.clip(images, 0, 1) * 255).astype(np.uint8)

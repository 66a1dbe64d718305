"""Optimal denoisers of the procedural families, in closed form: what measurements are tested against.

The noise model is y = x + sigma z with peak 1 and x not clipped.  The optimal denoiser D has the Jacobian
J = Cov[x | y] / sigma^2, so that the mean squared error per pixel is sigma^2 E[tr J] / d: from one follow
the other two.  All functions of images take one channel; d is side^2.  Vectors of the mixture are in their own units.
A diffusion's x_t = sqrt(abar) x + sqrt(1 - abar) eps is y = x_t / sqrt(abar) with sigma^2 = 1 / abar - 1.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from scipy.special import expit

from bench.data.options import FAMILIES
from bench.data.procedural import (
    PLANTED,
    Disk,
    edge_width,
    gaussian_spectrum,
    haar_basis,
    haar_prior,
    planted_pattern,
)


def optimum(made: Mapping[str, Any]) -> Callable[[float], float] | None:
    """Return the optimal mean squared error per value by sigma, of a dataset's options; None if it is not known.

    Sigma and the error are those of peak 1, where networks see [-1, 1]; a vector's own unit is that of [-1, 1].
    """
    side, family = made["resolution"], made.get("family")
    if made.get("base") or made.get("variant"):
        return None
    given = {**FAMILIES.get(str(family), {}), **(made.get("parameters") or {})}
    if family == "gaussian":
        return lambda sigma: gaussian_error(side, sigma, **given)
    if family == "haar":
        return lambda sigma: haar_error(side, sigma, points=2001)
    if family == "planted":
        return lambda sigma: planted_error(side, sigma, **given)
    if family == "mixture":
        return lambda sigma: mixture_error(made["channels"], 2 * sigma, **given) / 4
    return None


def psnr(error: float) -> float:
    """Return the PSNR, dB, of a mean squared error with peak 1."""
    return -10 * math.log10(error)


def gaussian_gains(side: int, sigma: float, beta: float = 2.0) -> np.ndarray:
    """Return the Wiener gains lambda / (lambda + sigma^2) (side, side): J's eigenvalues, Fourier basis."""
    spectrum = gaussian_spectrum(side, beta)
    return spectrum / (spectrum + sigma**2)


def gaussian_error(side: int, sigma: float, beta: float = 2.0) -> float:
    """Return the optimal mean squared error per pixel of the Gaussian field."""
    return float(sigma**2 * gaussian_gains(side, sigma, beta).mean())


def gaussian_denoise(noisy: np.ndarray, sigma: float, beta: float = 2.0) -> np.ndarray:
    """Return the optimal estimate of fields (..., side, side) with mean 0.5."""
    gains = gaussian_gains(noisy.shape[-1], sigma, beta)
    return 0.5 + np.fft.ifft2(np.fft.fft2(noisy - 0.5) * gains).real


def _haar_posterior(
    y: np.ndarray, p: np.ndarray, tau2: np.ndarray, sigma: float
) -> tuple[np.ndarray, np.ndarray]:
    """Return mean and variance of a coefficient given its noisy value."""
    total = tau2 + sigma**2
    # w = p N(y; 0, total) / (p N(y; 0, total) + (1 - p) N(y; 0, sigma^2)), through the ratio of the two
    exponent = -0.5 * y**2 * (1 / sigma**2 - 1 / total)
    ratio = (1 - p) / p * np.sqrt(total / sigma**2) * np.exp(exponent)
    weight = 1 / (1 + ratio)
    shrunk = tau2 / total * y
    mean = weight * shrunk
    return mean, weight * (tau2 * sigma**2 / total + shrunk**2) - mean**2


def haar_denoise(noisy: np.ndarray, sigma: float) -> tuple[np.ndarray, np.ndarray]:
    """Return the optimal estimate of Haar fields (..., side, side) with mean 0.5, and the eigenvalues of J.

    J is diagonal in the 2-D Haar basis for every y; its eigenvalues (..., side, side) are indexed by coefficient.
    """
    side = noisy.shape[-1]
    basis = haar_basis(side)
    mean, variance = _haar_posterior(basis @ (noisy - 0.5) @ basis.T, *haar_prior(side), sigma)
    return 0.5 + basis.T @ mean @ basis, variance / sigma**2


def haar_error(side: int, sigma: float, points: int = 8001) -> float:
    """Return the optimal mean squared error per pixel of the sparse Haar field, by quadrature over y."""
    return float(np.mean(_by_prior(side, lambda p, tau2: _haar_coefficient_error(p, tau2, sigma, points))))


def haar_linear_error(side: int, sigma: float) -> float:
    """Return the mean squared error per pixel of the best linear denoiser of the sparse Haar field."""
    p, tau2 = haar_prior(side)
    return float(np.mean(p * tau2 * sigma**2 / (p * tau2 + sigma**2)))


def _by_prior(side: int, function) -> np.ndarray:
    """Evaluate a function of (p, tau^2) once for each level and spread it over the coefficients."""
    p, tau2 = haar_prior(side)
    values, where = np.unique(tau2, return_inverse=True)
    found = np.array([function(p[tau2 == value][0], value) for value in values])
    return found[where.reshape(tau2.shape)]


def _haar_coefficient_error(p: float, tau2: float, sigma: float, points: int) -> float:
    total = tau2 + sigma**2
    # sinh spaces the points evenly over both scales of the density, sigma and sqrt(total)
    limit = math.asinh(12 * math.sqrt(total) / sigma)
    s = np.linspace(-limit, limit, points)
    y = sigma * np.sinh(s)
    density = p * _normal(y, total) + (1 - p) * _normal(y, sigma**2)
    variance = _haar_posterior(y, np.float64(p), np.float64(tau2), sigma)[1]
    return float(np.sum(density * variance * sigma * np.cosh(s)) * (s[1] - s[0]))


def _normal(y: np.ndarray, variance: float) -> np.ndarray:
    return np.exp(-0.5 * y**2 / variance) / math.sqrt(2 * math.pi * variance)


def disk_tangent(disk: Disk, side: int) -> np.ndarray:
    """Return the derivatives of a one-channel disk by (cx, cy, radius, inside, outside), (5, side, side).

    As sigma -> 0 the top five eigenvectors of J span them, tr J -> 5, and the squared error -> 5 sigma^2.
    """
    centre = np.arange(side) + 0.5
    dx, dy = centre[None] - disk.cx, centre[:, None] - disk.cy
    rho = np.maximum(np.hypot(dx, dy), 1e-12)
    soft = np.tanh((disk.radius - rho) / edge_width(side))
    slope = (disk.inside[0] - disk.outside[0]) * (1 - soft**2) / (2 * edge_width(side))
    return np.stack([slope * dx / rho, slope * dy / rho, slope, (1 + soft) / 2, (1 - soft) / 2])


def disk_basis(disk: Disk, side: int) -> np.ndarray:
    """Return an orthonormal basis (side^2, 5) of the tangent space at a disk, for principal angles."""
    return np.linalg.qr(disk_tangent(disk, side).reshape(5, -1).T)[0]


def gaussian_covariance(side: int, beta: float = 2.0) -> np.ndarray:
    """Return the covariance (side^2, side^2) of the pixels of the Gaussian field."""
    kernel = np.fft.ifft2(gaussian_spectrum(side, beta)).real
    row, column = np.divmod(np.arange(side**2), side)
    return kernel[(row[:, None] - row) % side, (column[:, None] - column) % side]


def planted_covariance(side: int, beta: float = 2.0, strength: float = 0.15) -> np.ndarray:
    """Return the covariance (side^2, side^2) of the pixels of a field with a planted pattern."""
    pattern = strength * planted_pattern(side).ravel()
    return PLANTED * gaussian_covariance(side, beta) + np.outer(pattern, pattern)


def planted_jacobian(side: int, sigma: float, beta: float = 2.0, strength: float = 0.15) -> np.ndarray:
    """Return J (side^2, side^2) = C (C + sigma^2)^-1: row i is how pixel i of the optimal estimate sees the image."""
    covariance = planted_covariance(side, beta, strength)
    return np.linalg.solve(covariance + sigma**2 * np.eye(side**2), covariance)


def planted_denoise(noisy: np.ndarray, sigma: float, beta: float = 2.0, strength: float = 0.15) -> np.ndarray:
    """Return the optimal estimate of planted fields (..., side, side) with mean 0.5."""
    jacobian = planted_jacobian(noisy.shape[-1], sigma, beta, strength)
    return 0.5 + ((noisy - 0.5).reshape(*noisy.shape[:-2], -1) @ jacobian).reshape(noisy.shape)


def planted_error(side: int, sigma: float, beta: float = 2.0, strength: float = 0.15) -> float:
    """Return the optimal mean squared error per pixel of the planted field."""
    return float(sigma**2 * np.trace(planted_jacobian(side, sigma, beta, strength)) / side**2)


def _mixture_weight(noisy: np.ndarray, variance: float) -> np.ndarray:
    """Return the posterior weight (...) of the Gaussian around (1, ..., 1)."""
    return expit(2 * noisy.sum(-1) / variance)


def mixture_denoise(noisy: np.ndarray, sigma: float, deviation: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """Return the optimal estimate of noisy vectors (..., d), and the trace of J (...)."""
    variance, d = deviation**2 + sigma**2, noisy.shape[-1]
    weight = _mixture_weight(noisy, variance)
    centre = (2 * weight - 1)[..., None]
    mean = centre + (deviation**2 / variance) * (noisy - centre)
    spread = (sigma / variance) ** 2 * weight * (1 - weight) * 4 * d
    return mean, d * deviation**2 / variance + spread


def mixture_score(noisy: np.ndarray, sigma: float, deviation: float = 1.0) -> np.ndarray:
    """Return the gradient (..., d) of the logarithm of the density of noisy vectors (Tweedie)."""
    if sigma == 0:
        weight = _mixture_weight(noisy, deviation**2)
        return ((2 * weight - 1)[..., None] - noisy) / deviation**2
    return (mixture_denoise(noisy, sigma, deviation)[0] - noisy) / sigma**2


def mixture_log_density(noisy: np.ndarray, sigma: float, deviation: float = 1.0) -> np.ndarray:
    """Return the logarithm of the density (...) of noisy vectors (..., d): for divergences from a sample."""
    variance, d = deviation**2 + sigma**2, noisy.shape[-1]
    exponents = [-0.5 * ((noisy - sign) ** 2).sum(-1) / variance for sign in (1.0, -1.0)]
    return np.logaddexp(*exponents) - math.log(2) - d / 2 * math.log(2 * math.pi * variance)


def mixture_error(d: int, sigma: float, deviation: float = 1.0, points: int = 4001) -> float:
    """Return the optimal mean squared error per dimension of the mixture, by quadrature along (1, ..., 1)."""
    variance = deviation**2 + sigma**2
    z = np.linspace(-12, 12, points)  # the noisy vector's part along the mean, in its own deviations
    weight = expit(2 * math.sqrt(d) * (math.sqrt(d) + math.sqrt(variance) * z) / variance)
    doubt = float(np.sum(_normal(z, 1.0) * weight * (1 - weight)) * (z[1] - z[0]))
    return deviation**2 * sigma**2 / variance + 4 * (sigma**2 / variance) ** 2 * doubt

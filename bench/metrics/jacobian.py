"""Spectrum and eigenvectors of a denoiser's input-output Jacobian, at an image and a noise level.

The paper does not say which Jacobian it decomposes, so both are taken: of the noise prediction (``eps``) and
of the one-step image estimate (``x0``); they are tied by ``J_x0 = (I - sqrt(1 - abar) J_eps) / sqrt(abar)``.
Eigenvalues and eigenvectors are those of the symmetric part; singular values and the asymmetry stand beside.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from scipy.sparse.linalg import LinearOperator, eigsh, svds
from torch import Tensor
from torch.func import jvp, vjp, vmap

from bench.data.pixels import to_network, to_uint8
from bench.errors import BenchError
from bench.metrics.measure import Measurement
from bench.models.attention import exact_attention
from bench.options import JacobianOptions
from bench.randomness import generator
from bench.runs import Run

CHUNK = 64
TOLERANCE = 1e-2  # relative residual |A v - lambda v| / |lambda_0| that a leading pair may have


@dataclass(frozen=True)
class Spectrum:
    """``eigenvalues`` (d or k,) descending, ``eigenvectors`` (d, d or k) as columns, ``singular_values``
    descending, ``asymmetry`` |J - J^T| / |J| (NaN where only leading values are known)."""

    eigenvalues: np.ndarray
    eigenvectors: np.ndarray
    singular_values: np.ndarray
    asymmetry: float


def dense_jacobian(function: Callable[[Tensor], Tensor], x: Tensor) -> np.ndarray:
    """Return the Jacobian (d, d), float64, of a map of images (1, C, H, W), rows = outputs, by chunked vmap of vjp."""
    with exact_attention():
        out, pull = vjp(function, x)
        rows = torch.eye(out.numel(), device=x.device).split(CHUNK)
        found = [vmap(lambda v: pull(v.view_as(out))[0].flatten())(block).cpu() for block in rows]
    return torch.cat(found).double().numpy()


def spectrum(jacobian: np.ndarray) -> Spectrum:
    """Decompose a dense Jacobian (d, d) completely; the sign of an eigenvector makes its largest entry positive."""
    values, vectors = np.linalg.eigh((jacobian + jacobian.T) / 2)
    singular = np.linalg.svd(jacobian, compute_uv=False)
    asymmetry = np.linalg.norm(jacobian - jacobian.T) / np.linalg.norm(jacobian)
    return Spectrum(values[::-1], _signed(vectors[:, ::-1]), singular, float(asymmetry))


def leading_spectrum(function: Callable[[Tensor], Tensor], x: Tensor, count: int) -> Spectrum:
    """Return the ``count`` leading values without forming the Jacobian, from products J v (jvp) and J^T v (vjp).

    Raises BenchError where ``count`` is not below the dimension, or an eigenpair does not satisfy its equation.
    """
    size = x.numel()
    if count >= size:
        raise BenchError(f"jacobian.leading = {count} is not below the dimension {size}; set it to null.")

    def forward(v: np.ndarray) -> np.ndarray:
        return jvp(function, (x,), (_tensor(v, x),))[1].flatten().double().cpu().numpy()

    def backward(v: np.ndarray) -> np.ndarray:
        return pull(_tensor(v, x))[0].flatten().double().cpu().numpy()

    start = np.random.default_rng(0).standard_normal(size)
    with exact_attention():
        _, pull = vjp(function, x)
        symmetric = LinearOperator((size, size), lambda v: (forward(v) + backward(v)) / 2, dtype=np.float64)
        values, vectors = eigsh(symmetric, count, which="LA", v0=start, tol=1e-4)
        order = np.argsort(values)[::-1]
        values, vectors = values[order], _signed(vectors[:, order])
        _check_residual(symmetric, values, vectors)
        plain = LinearOperator((size, size), forward, rmatvec=backward, dtype=np.float64)
        singular = np.sort(svds(plain, count, v0=start, tol=1e-4, return_singular_vectors=False))[::-1]
    return Spectrum(values, vectors, singular, math.nan)


def _check_residual(operator: LinearOperator, values: np.ndarray, vectors: np.ndarray) -> None:
    for k in (0, len(values) - 1):
        residual = np.linalg.norm(operator @ vectors[:, k] - values[k] * vectors[:, k]) / max(
            abs(values[0]), 1e-12
        )
        if residual > TOLERANCE:
            raise BenchError(
                f"Eigenpair {k} did not converge (relative residual {residual:.1e}); set jacobian.leading to null."
            )


def _tensor(v: np.ndarray, x: Tensor) -> Tensor:
    return torch.as_tensor(np.ravel(v), dtype=x.dtype, device=x.device).view(x.shape).contiguous()


def _signed(vectors: np.ndarray) -> np.ndarray:
    peak = np.take_along_axis(vectors, np.abs(vectors).argmax(0)[None], 0)
    return np.ascontiguousarray(vectors * np.where(peak < 0, -1, 1))


def x0_jacobian(eps_jacobian: np.ndarray, abar: float) -> np.ndarray:
    """Return the Jacobian of the unclipped x0 estimate from that of the noise prediction."""
    return (np.eye(len(eps_jacobian)) - math.sqrt(1 - abar) * eps_jacobian) / math.sqrt(abar)


def measure(run: Run, options: JacobianOptions) -> Measurement:
    """Measure the Jacobians on the first test images at the noise levels of the step grid."""
    grid = run.schedule.respace(options.steps)
    clean = run.test_images(options.images)
    images = to_network(torch.from_numpy(clean)).to(run.device)
    found = Measurement(arrays={"images": clean, "vectors": np.array(options.vectors)})
    for step in options.step_indices:
        noise = torch.randn(images.shape, generator=generator(0, "jacobian-noise", step)).to(images.device)
        noisy = grid.q_sample(images, step, noise)
        found.arrays[f"noisy_{step}"] = to_uint8(noisy.cpu()).numpy()
        for image in range(options.images):
            for operator, values in _spectra(run, options, grid, noisy[image : image + 1], step):
                _record(found, options, values, f"{operator}_{step}_{image}", clean.shape[1:])
    return found


def _spectra(run: Run, options: JacobianOptions, grid, x: Tensor, step: int):
    """Yield (operator, spectrum) at one noisy image (1, C, H, W)."""
    abar = grid.alphas_cumprod[step]
    t = torch.tensor([int(grid.timesteps[step])], device=x.device)
    model = run.model
    functions = {
        "eps": lambda z: model(z, t),
        "x0": lambda z: grid.x0_from_eps(z, step, model(z, t)),
    }
    if options.leading is not None:
        for operator in options.operators:
            yield operator, leading_spectrum(functions[operator], x, options.leading)
        return
    eps = dense_jacobian(functions["eps"], x)
    for operator in options.operators:
        yield operator, spectrum(eps if operator == "eps" else x0_jacobian(eps, abar))


def _record(
    found: Measurement, options: JacobianOptions, values: Spectrum, name: str, shape: tuple[int, ...]
) -> None:
    operator, step, image = name.split("_")
    protocol = f"operator={operator};step={step};image={image};values={options.leading or 'all'}"
    for metric, series in (
        ("jacobian_eigenvalue", values.eigenvalues),
        ("jacobian_singular_value", values.singular_values),
    ):
        for k, value in enumerate(series):
            found.add(metric, value, "test", "k", k, protocol)
    if not math.isnan(values.asymmetry):
        found.add("jacobian_asymmetry", values.asymmetry, "test", protocol=protocol)
    if bad := [k for k in options.vectors if k >= values.eigenvectors.shape[1]]:
        raise BenchError(
            f"jacobian.vectors asks for eigenvector {bad[0]}, there are {values.eigenvectors.shape[1]}."
        )
    height, width, channels = shape
    chosen = values.eigenvectors[:, options.vectors].T.reshape(-1, channels, height, width)
    found.arrays[f"eigenvalues_{name}"] = values.eigenvalues
    found.arrays[f"eigenvectors_{name}"] = chosen.transpose(0, 2, 3, 1).astype(np.float32)

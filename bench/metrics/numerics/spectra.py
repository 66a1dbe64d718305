"""Spectra of Jacobians: complete from the matrix, or the leading values from products alone.

Operators are affine in one Jacobian J: ``shift I + slope J``. They share its eigenvectors, so one
decomposition serves all of them.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from scipy.sparse.linalg import ArpackNoConvergence, LinearOperator, eigsh
from torch import Tensor

from bench.models.derivatives import Function, Products
from bench.support.errors import BenchError

Maps = dict[str, tuple[float, float]]  # operator -> (shift, slope)

RESIDUAL = 1e-2  # |A v - lambda v| / max |lambda| that a leading pair may have
TOLERANCE = 1e-3  # of the operator's size, asked of ARPACK
RESTARTS = 1000  # of ARPACK, each of some twenty products; real spectra take tens
# of |shift| + |slope J|: an operator below it is zero, since float32 products cannot resolve it
ROUNDING = 1e-3


@dataclass(frozen=True)
class Spectrum:
    """``eigenvalues`` (d or k,) of the symmetric part, descending, ``eigenvectors`` (d, d or k) as columns,
    ``singular_values`` descending; ``asymmetry`` |J - J^T| / |J| and ``trace``, NaN if only leading values
    are known; ``residual`` max_k |A v_k - lambda_k v_k| / max |lambda|, the latter at least ROUNDING of the terms of A."""

    eigenvalues: np.ndarray
    eigenvectors: np.ndarray
    singular_values: np.ndarray
    asymmetry: float = math.nan
    trace: float = math.nan
    residual: float = 0.0

    def first(self, count: int) -> Spectrum:
        """Return the ``count`` leading values and vectors."""
        return replace(
            self,
            eigenvalues=self.eigenvalues[:count],
            eigenvectors=self.eigenvectors[:, :count],
            singular_values=self.singular_values[:count],
        )


def dense_jacobian(function: Function, x: Tensor) -> np.ndarray:
    """Return the Jacobian (d, d), float64, at one image (1, C, H, W), rows = outputs.

    ``function`` maps batches of images. One graph of equal copies of the image is built, and each backward pass
    through it gives as many rows as there are copies: the products of ``vmap(vjp)``, at half their time on a CPU,
    since every layer keeps its own batched kernel. Raises BenchError if an entry is not finite.
    """
    size = x.numel()
    copies = min(size, max(16, 2**14 // size) if x.device.type == "cpu" else 128)
    while True:
        try:
            return _dense(function, x, copies)
        except torch.OutOfMemoryError as error:
            if copies == 1:
                raise BenchError(
                    "The GPU's memory is too small for one backward pass; choose a larger GPU."
                ) from error
        torch.cuda.empty_cache()
        copies //= 2


def _dense(function: Function, x: Tensor, copies: int) -> np.ndarray:
    size = x.numel()
    with torch.enable_grad():
        batch = x.detach().expand(copies, *x.shape[1:]).contiguous().requires_grad_()
        out = function(batch) + 0 * batch  # the second term: a constant function has a Jacobian too
    found = np.empty((size, size))
    for start in range(0, size, copies):
        rows = min(copies, size - start)
        seeds = torch.zeros(copies, size, dtype=x.dtype, device=x.device)
        seeds[:rows, start : start + rows].fill_diagonal_(1)
        (block,) = torch.autograd.grad(out, batch, seeds.view_as(out), retain_graph=True)
        found[start : start + rows] = block[:rows].flatten(1).cpu()
    if not np.isfinite(found).all():
        raise BenchError("The Jacobian holds values that are not finite; train the run again.")
    return found


def spectra(jacobian: np.ndarray, maps: Maps) -> dict[str, Spectrum]:
    """Decompose ``shift I + slope J`` completely, for each operator, from the dense J (d, d).

    Singular values are roots of the eigenvalues of the Gram matrix in float64: right to 1e-8 of the largest,
    finer than a float32 network's derivatives. An eigenvector's sign makes its largest entry positive.
    """
    symmetric, gram = (jacobian + jacobian.T) / 2, jacobian.T @ jacobian
    values, vectors = np.linalg.eigh(symmetric)
    vectors, skew = _signed(vectors), float(np.linalg.norm(jacobian - jacobian.T))
    found = {}
    for name, (shift, slope) in maps.items():
        square = slope**2 * gram + 2 * shift * slope * symmetric + shift**2 * np.eye(len(gram))
        moved = shift + slope * values
        order = slice(None, None, -1 if slope > 0 else 1)
        found[name] = Spectrum(
            moved[order],
            vectors[:, order],
            np.sqrt(np.maximum(np.linalg.eigvalsh(square)[::-1], 0)),
            abs(slope) * skew / max(math.sqrt(np.trace(square)), 1e-300),
            float(moved.sum()),
        )
    return found


def leading_spectra(function: Function, x: Tensor, count: int, maps: Maps) -> dict[str, Spectrum]:
    """Return the ``count`` leading values of ``shift I + slope J`` without forming J, for each operator.

    Of a value that many directions share, fewer copies may be found than there are (one starting vector).
    Raises OneDerivative where the function cannot be differentiated twice, BenchError where a product is not finite, or
    a pair does not satisfy its equation to RESIDUAL.
    """
    size = x.numel()
    products = Products(function, x)
    solved: dict[tuple[float, float], tuple[float, Spectrum]] = {}
    found = {}
    for name, (shift, slope) in maps.items():
        ratio = round(shift / slope, 9)  # equal ratio: one operator is a multiple of the other
        if (math.copysign(1, slope), ratio) not in solved:
            solved[math.copysign(1, slope), ratio] = slope, _leading(products, size, count, shift, slope)
        first, spectrum = solved[math.copysign(1, slope), ratio]
        found[name] = _scaled(spectrum, slope / first)
    return found


def _leading(products: Products, size: int, count: int, shift: float, slope: float) -> Spectrum:
    def forward(v: np.ndarray) -> np.ndarray:
        return shift * v + slope * products.forward(v)

    def backward(v: np.ndarray) -> np.ndarray:
        return shift * v + slope * products.backward(v)

    start = np.random.default_rng(0).standard_normal(size)
    start /= np.linalg.norm(start)
    floor = ROUNDING * (abs(shift) + float(np.linalg.norm(slope * products.forward(start))))
    values, vectors, residual = _lanczos(lambda v: (forward(v) + backward(v)) / 2, start, count, floor)
    # the singular vectors of a nearly symmetric Jacobian lie near its eigenvectors: start among them
    mixed = vectors.sum(1) / math.sqrt(count)
    squares, _, second = _lanczos(lambda v: backward(forward(v)), mixed, count, floor**2)
    singular = np.sqrt(np.maximum(squares, 0))
    return Spectrum(values, _signed(vectors), singular, residual=max(residual, second))


def _lanczos(
    product: Callable[[np.ndarray], np.ndarray], start: np.ndarray, count: int, floor: float
) -> tuple[np.ndarray, np.ndarray, float]:
    """Return the largest eigenvalues, descending, their vectors, and the largest relative residual.

    ``start`` has norm 1.  ARPACK's tolerance is relative to each eigenvalue, which one near zero never meets:
    it is given the operator moved by its own size, at least ``floor``.
    """
    size = max(float(np.linalg.norm(product(start))), floor)
    if size == 0:  # the zero operator of no terms
        return np.zeros(count), np.eye(len(start), count), 0.0
    moved = LinearOperator((len(start),) * 2, lambda v: product(v) + size * v, dtype=np.float64)
    try:
        values, vectors = eigsh(moved, count, which="LA", v0=start, tol=TOLERANCE, maxiter=RESTARTS)
    except ArpackNoConvergence:
        residual = math.inf
    else:
        values, vectors = values[::-1] - size, vectors[:, ::-1]
        images = np.stack([product(v) for v in vectors.T], axis=1)
        scale = max(np.abs(values).max(), floor)
        residual = float(np.linalg.norm(images - values * vectors, axis=0).max() / scale)
    if residual <= RESIDUAL:
        return values, vectors, residual
    raise BenchError(
        f"The {count} leading values did not converge (relative residual {residual:.1e}); "
        "set jacobian.leading to null."
    )


def _scaled(spectrum: Spectrum, factor: float) -> Spectrum:
    values, singular = spectrum.eigenvalues * factor, spectrum.singular_values * factor
    return replace(spectrum, eigenvalues=values, singular_values=singular)


def _signed(vectors: np.ndarray) -> np.ndarray:
    peak = np.take_along_axis(vectors, np.abs(vectors).argmax(0)[None], 0)
    return np.ascontiguousarray(vectors * np.where(peak < 0, -1, 1))

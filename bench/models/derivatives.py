"""Products with the Jacobian of any network, and what they need of it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from bench.models.attention import exact_attention
from bench.support.errors import BenchError

Function = Callable[[Tensor], Tensor]

ADJOINT = 1e-4  # |u J v - v J^T u| / (|u| |J v| + |v| |J^T u|) that rounding may give


class OneDerivative(BenchError):
    """The function cannot be differentiated twice."""


class Products:
    """J v and J^T v of a function at one image (1, C, H, W), from one pass: vectors (d,) float64 to the same.

    J v is the derivative of J^T u by u, a backward pass through the backward pass: no slower than forward mode for
    most networks, without its tracing, and open to whatever can be differentiated twice: attention is computed without
    fused kernels, which cannot.  Raises OneDerivative where the function cannot, BenchError where a product is not finite.
    """

    def __init__(self, function: Function, x: Tensor) -> None:
        with exact_attention(), torch.enable_grad():
            self._x = x.detach().contiguous().requires_grad_()
            self._out = function(self._x) + 0 * self._x
            self._u = torch.zeros_like(self._out, requires_grad=True)
            self._adjoint = self._grad(self._out, self._x, self._u, create_graph=True)
        self._check()

    def _check(self) -> None:
        """Raise OneDerivative where u J v is not v J^T u: an operation may drop its second derivative in silence."""
        u, v = np.random.default_rng(1).standard_normal((2, self._x.numel()))
        image, adjoint = self.forward(v), self.backward(u)
        size = np.linalg.norm(u) * np.linalg.norm(image) + np.linalg.norm(v) * np.linalg.norm(adjoint)
        if not abs(u @ image - v @ adjoint) <= ADJOINT * size:
            raise OneDerivative("it cannot be differentiated twice: J v and J^T u disagree.")

    @staticmethod
    def _grad(of: Tensor, by: Tensor, seed: Tensor, **options: bool) -> Tensor:
        try:
            return torch.autograd.grad(of, by, seed, **options)[0]
        except RuntimeError as error:
            raise OneDerivative(f"it cannot be differentiated twice ({error}).") from error

    def forward(self, v: np.ndarray) -> np.ndarray:
        """Return J v."""
        return _array(self._grad(self._adjoint, self._u, self._tensor(v), retain_graph=True))

    def backward(self, v: np.ndarray) -> np.ndarray:
        """Return J^T v."""
        return _array(self._grad(self._out, self._x, self._tensor(v), retain_graph=True))

    def _tensor(self, v: np.ndarray) -> Tensor:
        x = self._x
        return torch.as_tensor(np.ravel(v), dtype=x.dtype, device=x.device).view(x.shape)


def _array(v: Tensor) -> np.ndarray:
    found = v.detach().flatten().double().cpu().numpy()
    if not np.isfinite(found).all():
        raise BenchError("A Jacobian product is not finite; train the run again.")
    return found

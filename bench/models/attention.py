"""Softmax attention with optional local windows, behind one parameter-free module that can be observed.

Every attention layer of every family calls an `AttentionCore`, so that maps are captured by a forward hook,
multiply-adds are counted in one place, and derivatives of any kind have a path that supports them.

A window of odd size w keeps, for the query token at (i, j), the keys at (i', j') with |i - i'| and |j - j'|
at most (w - 1) / 2. It is clipped at the border: the corner token of a 3 x 3 window keeps 4 keys (An et al.
2024, Fig. 5). Windows add no parameters.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from bench.models.local_attention import fused_attention, tiled_attention, tiles_pay

_mode = "fast"  # "exact": explicit softmax everywhere; "skip": products left out (for counting)


@contextmanager
def _attention_mode(mode: str) -> Iterator[None]:
    global _mode
    before, _mode = _mode, mode
    try:
        yield
    finally:
        _mode = before


@contextmanager
def exact_attention() -> Iterator[None]:
    """Context in which attention can be differentiated in any way: every core computes softmax(Q K^T) V explicitly.

    So does torch's own attention in networks from elsewhere. Fused kernels support neither forward-mode
    derivatives nor vmap or a second derivative.
    """
    with _attention_mode("exact"), sdpa_kernel(SDPBackend.MATH):
        yield


def skipped_products() -> AbstractContextManager[None]:
    """Context in which every core returns its queries: the rest is the cost without attention products."""
    return _attention_mode("skip")


@torch.compiler.assume_constant_result
def window_mask(grid: tuple[int, int], window: int, extra: int, device: torch.device) -> Tensor:
    """Return the boolean mask (extra + T, extra + T), T = rows * columns; True if a key is kept.

    Shared by all layers of equal grid and window. The ``extra`` leading tokens see, and are seen by, all.
    """
    return _window_mask(grid, window, extra, device)


@functools.lru_cache(maxsize=32)
def _window_mask(grid: tuple[int, int], window: int, extra: int, device: torch.device) -> Tensor:
    rows, columns = grid
    with torch.inference_mode(False):  # a mask born in inference mode could not be saved for backward
        near = [
            (torch.arange(n, device=device)[:, None] - torch.arange(n, device=device)[None]).abs()
            <= window // 2
            for n in grid
        ]
        inside = near[0][:, None, :, None] & near[1][None, :, None, :]
        inside = inside.reshape(rows * columns, rows * columns)
        return nn.functional.pad(inside, (extra, 0, extra, 0), value=True) if extra else inside


class AttentionCore(nn.Module):
    """softmax(scale Q K^T) V over a grid of tokens, with no parameters.

    ``grid`` is (rows, columns) of the tokens, row by row; ``None`` marks cross-attention, which is never
    windowed and never captured. ``window`` is odd, or ``None`` for global attention. ``extra`` leading tokens
    (time, class) are never masked. ``scale`` is 1 / sqrt(head width) unless given.
    Raises ValueError for a window that is even, not positive, or without a grid.
    """

    def __init__(
        self,
        grid: Any,
        window: int | None = None,
        extra: int = 0,
        scale: float | None = None,
    ) -> None:
        super().__init__()
        if window is not None and (window < 1 or window % 2 == 0):
            raise ValueError(f"an attention window must be odd and positive, not {window}.")
        if window is not None and grid is None:
            raise ValueError("an attention window needs a grid of tokens.")
        if window is not None and window >= 2 * max(grid) - 1:
            window = None  # every token sees every other
        self.grid, self.window, self.extra, self.scale = grid, window, extra, scale

    def forward(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """Attend: (B, heads, tokens, head width) three times, to the shape of ``q``."""
        if _mode == "skip":
            return q
        if _mode == "exact":
            return _softmax(q, k, self.mask(q.device), self._scale(q)) @ v
        if self.window is not None and tiles_pay(self.grid, q.device, q.dtype):
            return tiled_attention(q, k, v, self.grid, self.window, self.extra, self._scale(q))
        return fused_attention(q, k, v, self.mask(q.device), self.scale)

    def weights(self, q: Tensor, k: Tensor) -> Tensor:
        """Return the softmax map (B, heads, queries, keys), float32; rows sum to 1."""
        with torch.autocast(q.device.type, enabled=False):
            return _softmax(q.float(), k.float(), self.mask(q.device), self._scale(q))

    def mask(self, device: torch.device) -> Tensor | None:
        """Return the boolean mask of the window, or ``None`` for global attention."""
        return None if self.window is None else window_mask(self.grid, self.window, self.extra, device)

    def products(self, queries: int, keys: int) -> int:
        """Return how many (query, key) pairs are kept per head and image: those inside the window."""
        if self.window is None:
            return queries * keys
        reach = self.window // 2
        kept = [sum(min(i, reach) + 1 + min(n - 1 - i, reach) for i in range(n)) for n in self.grid]
        return kept[0] * kept[1] + self.extra * (2 * self.grid[0] * self.grid[1] + self.extra)

    def _scale(self, q: Tensor) -> float:
        return q.shape[-1] ** -0.5 if self.scale is None else self.scale

    def extra_repr(self) -> str:
        return f"grid={self.grid}, window={self.window}, extra={self.extra}"


def _softmax(q: Tensor, k: Tensor, mask: Tensor | None, scale: float) -> Tensor:
    scores = (q * scale) @ k.transpose(-2, -1)
    if mask is not None:
        scores = scores.masked_fill(~mask, float("-inf"))
    return scores.softmax(dim=-1)

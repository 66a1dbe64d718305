"""Local attention whose work and memory grow with tokens x window^2 instead of tokens^2.

The grid is cut into tiles of queries, each with the keys it can reach (the tile and a halo), and all tiles go
through one batched fused attention. It equals dense attention under the boolean mask of
`bench.models.attention.window_mask`, forward and backward. Where the dense mask is as fast, on small grids, it is taken.
Measured by `benchmarks/attention.py`: on an H100 in bfloat16 the masked fused kernel is as fast as FlexAttention and
faster than tiles up to 1,024 tokens; in float32, as measurements are taken, tiles need 0.35 to 0.9 of its time.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks
from torch.nn.functional import pad, scaled_dot_product_attention

Grid = tuple[int, int]
TILE = 8


def tiles_pay(grid: Grid, device: torch.device, dtype: torch.dtype) -> bool:
    """Return whether tiles are faster than the dense mask for a grid of tokens; never on the meta device."""
    tokens = grid[0] * grid[1]
    if device.type == "cuda":
        return tokens > (256 if dtype == torch.float32 else 1024)
    return device.type == "cpu" and tokens > 144


def fused_attention(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, scale: float | None) -> Tensor:
    """Return softmax(scale Q K^T) V of (..., tokens, width) by torch's fused kernels; ``scale`` None is 1 / sqrt(width).

    Those of CUDA need head widths that are multiples of 8 (DiT-XS/1 has 63): zeros are added, which change no product.
    """
    width = q.shape[-1]
    if q.is_cuda and (spare := -width % 8):
        q, k, v = (pad(x, (0, spare)) for x in (q, k, v))
        scale = width**-0.5 if scale is None else scale
    return scaled_dot_product_attention(q, k, v, attn_mask=mask, scale=scale)[..., :width]


def tile_shape(grid: Grid, window: int) -> Grid:
    """Return rows and columns of a query tile: squares for small windows, whole rows for large ones.

    A square tile gathers fewer keys; once its halo covers most of the grid's width, whole rows are cheaper.
    """
    if window + TILE - 1 <= 0.6 * grid[1]:
        return min(TILE, grid[0]), min(TILE, grid[1])
    return min(TILE // 2, grid[0]), grid[1]


def tiled_attention(
    q: Tensor, k: Tensor, v: Tensor, grid: Grid, window: int, extra: int, scale: float
) -> Tensor:
    """Attend inside clipped windows: (B, heads, extra + tokens, width) three times, to the same shape."""
    queries, keys, places, mask = _tiles(grid, window, extra, tile_shape(grid, window), q.device, q.dtype)
    batch, heads, tokens, width = q.shape

    def gather(x: Tensor, index: Tensor) -> Tensor:
        # (tiles, batch * heads, n, width): in this order one mask serves all images and heads
        rows = x.permute(2, 0, 1, 3).reshape(tokens, batch * heads * width)
        picked = rows.index_select(0, index.flatten())
        return picked.view(*index.shape, batch * heads, width).transpose(1, 2)

    sources = [(q, queries), (k, keys), (v, keys)]
    gathered = [gather(x, index) for x, index in sources]
    with _kept_as_sources(gathered, [(x.detach(), index) for x, index in sources], gather):
        out = fused_attention(*gathered, mask, scale)  # type: ignore[call-arg]  # three of them
    out = out.transpose(1, 2).reshape(queries.numel(), batch * heads * width).index_select(0, places)
    out = out.view(len(places), batch, heads, width).permute(1, 2, 0, 3)
    if extra:  # the extra tokens see every token
        first = fused_attention(q[:, :, :extra], k, v, None, scale)
        out = torch.cat([first, out], dim=2)
    return out


def _kept_as_sources(
    gathered: list[Tensor], sources: list[tuple[Tensor, Tensor]], gather: Callable[[Tensor, Tensor], Tensor]
) -> AbstractContextManager[object]:
    """Context in which autograd keeps what tiles were gathered from, and gathers again in the backward pass.

    The halos repeat every key two to five times; keeping them would cost more memory than global attention.
    Function transforms (vjp, vmap) and compiled networks do not support such hooks and keep the tiles.
    """
    if torch.compiler.is_compiling() or not torch.is_grad_enabled():
        return nullcontext()
    try:
        origin = {x.data_ptr(): source for x, source in zip(gathered, sources, strict=True)}
        with saved_tensors_hooks(lambda x: x, lambda x: x):
            pass
    except RuntimeError:  # inside a function transform
        return nullcontext()

    def pack(x: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        return origin.get(x.data_ptr(), x)

    def unpack(kept: Tensor | tuple[Tensor, Tensor]) -> Tensor:
        return kept if isinstance(kept, Tensor) else gather(*kept)

    return saved_tensors_hooks(pack, unpack)


@torch.compiler.assume_constant_result
def _tiles(
    grid: Grid, window: int, extra: int, tile: Grid, device: torch.device, dtype: torch.dtype
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return indices of queries (tiles, n) and keys (tiles, m), each token's place among the tiled
    queries (T,), and the additive mask (tiles, 1, n, m): 0 inside the window, else -inf.

    Tiles at the end are moved back into the grid, and so is the halo at the border: no index points outside.
    """
    return _cached_tiles(grid, window, extra, tile, device, dtype)


@functools.lru_cache(maxsize=64)
def _cached_tiles(
    grid: Grid, window: int, extra: int, tile: Grid, device: torch.device, dtype: torch.dtype
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    with torch.inference_mode(False):
        axes = [_axis(n, t, window // 2, device) for n, t in zip(grid, tile, strict=True)]
        (row_q, row_k), (column_q, column_k) = axes
        queries = (row_q[:, None, :, None] * grid[1] + column_q[None, :, None, :]).flatten(2).flatten(0, 1)
        keys = (row_k[:, None, :, None] * grid[1] + column_k[None, :, None, :]).flatten(2).flatten(0, 1)
        near = [(a[:, :, None] - b[:, None, :]).abs() <= window // 2 for a, b in axes]
        mask = near[0][:, None, :, None, :, None] & near[1][None, :, None, :, None, :]
        mask = mask.flatten(0, 1).flatten(3, 4).flatten(1, 2)
        places = torch.empty(grid[0] * grid[1], dtype=torch.long, device=device)
        places[queries.flatten()] = torch.arange(queries.numel(), device=device)
        if extra:
            first = torch.arange(extra, device=device).expand(len(keys), extra)
            queries, keys = queries + extra, torch.cat([first, keys + extra], dim=1)
            mask = pad(mask, (extra, 0), value=True)
        shared = torch.zeros(mask.shape, dtype=dtype, device=device).masked_fill_(~mask, -math.inf)
        return queries, keys, places, shared[:, None]


def _axis(length: int, tile: int, reach: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Return coordinates of queries (tiles, tile) and of the keys they reach (tiles, span) on one axis."""
    starts = torch.arange(0, length, tile, device=device).clamp(max=length - tile)
    span = min(tile + 2 * reach, length)
    key_starts = (starts - reach).clamp(0, length - span)
    return (
        starts[:, None] + torch.arange(tile, device=device),
        key_starts[:, None] + torch.arange(span, device=device),
    )

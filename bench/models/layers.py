"""Layers that several transformer families share."""

from __future__ import annotations

from typing import Literal

from torch import Tensor, nn

from bench.models.attention import AttentionCore


def modulate(x: Tensor, shift: Tensor, scale: Tensor) -> Tensor:
    """Return x (1 + scale) + shift for tokens (B, T, width) and vectors (B, width)."""
    return x * (1 + scale[:, None]) + shift[:, None]


def grid_of(image_size: int, patch: int) -> tuple[int, int]:
    """Return rows and columns of patches; raises ValueError when the patches do not tile the image."""
    if patch < 1 or image_size % patch:
        raise ValueError(f"patch {patch} does not divide the image side {image_size}.")
    return image_size // patch, image_size // patch


def unpatchify(tokens: Tensor, grid: tuple[int, int], patch: int) -> Tensor:
    """Return the image (B, C, H, W) of tokens (B, T, patch * patch * C), each (row, column, channel)."""
    channels = tokens.shape[-1] // patch**2
    pieces = tokens.reshape(len(tokens), *grid, patch, patch, channels)
    return pieces.permute(0, 5, 1, 3, 2, 4).reshape(len(tokens), channels, grid[0] * patch, grid[1] * patch)


class SelfAttention(nn.Module):
    """Multi-head self-attention: one joint q, k, v map (thirds, head after head) and an output map.

    Tokens (B, extra + T, width) to the same shape. Raises ValueError when the heads do not divide the width.
    """

    def __init__(
        self,
        width: int,
        heads: int,
        grid: tuple[int, int],
        window: int | None = None,
        extra: int = 0,
        bias: bool = True,
    ) -> None:
        super().__init__()
        if heads < 1 or width % heads:
            raise ValueError(f"heads {heads} does not divide the width {width}.")
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width, bias=bias)
        self.core = AttentionCore(grid, window, extra)
        self.out = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        batch, tokens, width = x.shape
        qkv = self.qkv(x).view(batch, tokens, 3, self.heads, width // self.heads)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)
        return self.out(self.core(q, k, v).transpose(1, 2).reshape(batch, tokens, width))


class Mlp(nn.Module):
    """Linear, GELU (``tanh`` form as in DiT, or exact: ``none``), Linear."""

    def __init__(self, width: int, hidden: int, gelu: Literal["tanh", "none"] = "tanh") -> None:
        super().__init__()
        self.first = nn.Linear(width, hidden)
        self.second = nn.Linear(hidden, width)
        self.gelu = gelu

    def forward(self, x: Tensor) -> Tensor:
        return self.second(nn.functional.gelu(self.first(x), approximate=self.gelu))

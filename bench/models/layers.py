"""Layers that several families share."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from bench.models.attention import AttentionCore

Grid = tuple[int, int]


def modulate(x: Tensor, shift: Tensor, scale: Tensor) -> Tensor:
    """Return x (1 + scale) + shift for tokens (B, T, width) and vectors (B, width)."""
    return torch.addcmul(shift[:, None], x, 1 + scale[:, None])


def check_images(x: Tensor, channels: int, side: int) -> None:
    """Raise ValueError unless ``x`` is (B, channels, side, side)."""
    if tuple(x.shape[1:]) != (channels, side, side):
        built = f"images of shape {(channels, side, side)}"
        raise ValueError(f"this network was built for {built}, not {tuple(x.shape[1:])}.")


def grid_of(image_size: int, patch: int) -> Grid:
    """Return rows and columns of patches; raises ValueError when the patches do not tile the image."""
    if image_size % patch:
        raise ValueError(f"patch {patch} does not divide the image side {image_size}.")
    return image_size // patch, image_size // patch


def unpatchify(tokens: Tensor, grid: Grid, patch: int) -> Tensor:
    """Return the image (B, C, H, W) of tokens (B, T, patch * patch * C), each (row, column, channel)."""
    channels = tokens.shape[-1] // patch**2
    pieces = tokens.reshape(len(tokens), *grid, patch, patch, channels)
    return pieces.permute(0, 5, 1, 3, 2, 4).reshape(len(tokens), channels, grid[0] * patch, grid[1] * patch)


class SelfAttention(nn.Module):
    """Multi-head self-attention: one joint q, k, v map (thirds, head after head) and an output map.

    Tokens (B, extra + T, width) to the same shape. Raises ValueError when the heads do not divide the width.
    """

    def __init__(
        self, width: int, heads: int, grid: Grid, window: int | None = None, extra: int = 0, bias: bool = True
    ) -> None:
        super().__init__()
        if width % heads:
            raise ValueError(f"heads {heads} does not divide the width {width}.")
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width, bias=bias)
        self.core = AttentionCore(grid, window, extra)
        self.out = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        parts = self.qkv(x).unflatten(-1, (3, self.heads, -1)).unbind(2)
        return self.out(self.core(*(part.transpose(1, 2) for part in parts)).transpose(1, 2).flatten(2))


class Mlp(nn.Module):
    """Linear, GELU (``tanh`` form as in DiT, or exact: ``none``), Linear; the hidden layer has ``ratio`` x width."""

    def __init__(self, width: int, ratio: float, gelu: Literal["tanh", "none"] = "tanh") -> None:
        super().__init__()
        self.first = nn.Linear(width, hidden_width(width, ratio))
        self.second = nn.Linear(self.first.out_features, width)
        self.gelu = gelu

    def forward(self, x: Tensor) -> Tensor:
        return self.second(nn.functional.gelu(self.first(x), approximate=self.gelu))


def hidden_width(width: int, ratio: float) -> int:
    """Return ``ratio`` x width, rounded down; raises ValueError if nothing is left."""
    if int(width * ratio) < 1:
        raise ValueError(f"mlp_ratio {ratio} leaves no hidden channel at width {width}.")
    return int(width * ratio)


class Block(nn.Module):
    """LayerNorm + attention, LayerNorm + MLP, each added to the tokens (B, T, width).

    With a condition (B, ``condition``) the norms have no affine part: shift and scale (and with ``gates`` a gate of
    each branch) are regressed from its SiLU, first those of the attention. They are adaLN and adaLN-Zero of DiT,
    zero at the start where the network zeroes ``modulation``.
    """

    def __init__(
        self,
        width: int,
        attention: nn.Module,
        mlp: nn.Module,
        epsilon: float,
        condition: int = 0,
        gates: bool = False,
    ) -> None:
        super().__init__()
        self.attention_norm = nn.LayerNorm(width, epsilon, elementwise_affine=not condition)
        self.attention = attention
        self.mlp_norm = nn.LayerNorm(width, epsilon, elementwise_affine=not condition)
        self.mlp = mlp
        self.vectors = 0 if not condition else 6 if gates else 4
        self.modulation = nn.Linear(condition, self.vectors * width) if condition else None

    def forward(self, x: Tensor, condition: Tensor | None) -> Tensor:
        branches = (self.attention_norm, self.attention), (self.mlp_norm, self.mlp)
        if self.modulation is None:
            for norm, branch in branches:
                x = x + branch(norm(x))
            return x
        vectors = self.modulation(nn.functional.silu(condition)).chunk(self.vectors, dim=1)
        half = self.vectors // 2
        for (norm, branch), (shift, scale, *gate) in zip(
            branches, (vectors[:half], vectors[half:]), strict=True
        ):
            change = branch(modulate(norm(x), shift, scale))
            x = torch.addcmul(x, gate[0][:, None], change) if gate else x + change
        return x

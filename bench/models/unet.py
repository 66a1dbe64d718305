"""The UNets of improved-diffusion (Nichol & Dhariwal 2021) and guided-diffusion (ADM, Dhariwal & Nichol 2021).

Down path, middle (block, attention, block), up path with concatenated skips.  The two forms share their
blocks: ADM resamples inside residual blocks and fixes the width of a head.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bench.models.attention import AttentionCore
from bench.models.embeddings import TimeEmbedding, label_rows, resolve_labels
from bench.models.registry import register_model


class Block(nn.Module):
    """norm, SiLU, 3x3; conditioning; norm, SiLU, 3x3 (zero); plus the input. (B, C, H, W) to (B, out, H', W').

    ``resample`` is ``"up"``, ``"down"`` or None; both branches are resampled before the first convolution.
    ``scale_shift`` modulates the second norm, otherwise the condition is added before it.
    """

    def __init__(
        self,
        width: int,
        out: int,
        condition: int,
        groups: int,
        dropout: float,
        scale_shift: bool,
        resample: str | None,
    ) -> None:
        super().__init__()
        self.norm1 = nn.GroupNorm(groups, width)
        self.conv1 = nn.Conv2d(width, out, 3, padding=1)
        self.condition = nn.Linear(condition, 2 * out if scale_shift else out)
        self.norm2 = nn.GroupNorm(groups, out)
        self.dropout = nn.Dropout(dropout)
        self.conv2 = zeroed(nn.Conv2d(out, out, 3, padding=1))
        self.skip = nn.Identity() if width == out else nn.Conv2d(width, out, 1)
        self.scale_shift, self.resample = scale_shift, resample

    def forward(self, x: Tensor, c: Tensor) -> Tensor:
        h = self.conv1(resampled(F.silu(self.norm1(x)), self.resample))
        c = self.condition(F.silu(c))[:, :, None, None]
        if self.scale_shift:
            scale, shift = c.chunk(2, dim=1)
            h = self.norm2(h) * (1 + scale) + shift
        else:
            h = self.norm2(h + c)
        return self.skip(resampled(x, self.resample)) + self.conv2(self.dropout(F.silu(h)))


class Attention(nn.Module):
    """Self-attention over all positions, added to the input, (B, C, H, W).

    ``thirds``: q, k and v are thirds of the projection, then heads (ADM's newer order); otherwise each head
    holds its own q, k, v.
    """

    def __init__(self, width: int, grid: tuple[int, int], heads: int, groups: int, thirds: bool) -> None:
        super().__init__()
        if width % heads:
            raise ValueError(f"{heads} heads do not divide {width} channels.")
        self.norm = nn.GroupNorm(groups, width)
        self.qkv = nn.Conv2d(width, 3 * width, 1)
        self.core = AttentionCore(grid)
        self.out = zeroed(nn.Conv2d(width, width, 1))
        self.heads, self.thirds = heads, thirds

    def forward(self, x: Tensor) -> Tensor:
        b, c, h, w = x.shape
        shape = (b, 3, self.heads, -1, h * w) if self.thirds else (b, self.heads, 3, -1, h * w)
        qkv = self.qkv(self.norm(x)).view(shape)
        q, k, v = (part.transpose(-1, -2) for part in qkv.unbind(1 if self.thirds else 2))
        return x + self.out(self.core(q, k, v).transpose(-1, -2).reshape(b, c, h, w))


class Resample(nn.Module):
    """Stride-2 3x3 convolution down, or nearest neighbour and 3x3 convolution up."""

    def __init__(self, width: int, up: bool) -> None:
        super().__init__()
        self.conv = nn.Conv2d(width, width, 3, padding=1, stride=1 if up else 2)
        self.up = up

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(resampled(x, "up") if self.up else x)


class Stage(nn.Module):
    """One step of a path: a block or a resampling, perhaps attention, perhaps a resampling after it."""

    def __init__(self, *parts: nn.Module) -> None:
        super().__init__()
        self.parts = nn.ModuleList(parts)

    def forward(self, x: Tensor, c: Tensor) -> Tensor:
        for part in self.parts:
            x = part(x, c) if isinstance(part, Block) else part(x)
        return x


def zeroed(module: nn.Module) -> nn.Module:
    """Return the module with all parameters zero: a branch that starts as nothing."""
    for parameter in module.parameters():
        nn.init.zeros_(parameter)
    return module


def resampled(x: Tensor, how: str | None) -> Tensor:
    """Return x at twice (``up``, nearest) or half (``down``, 2x2 mean) its side, or as it is."""
    if how == "up":
        return F.interpolate(x, scale_factor=2, mode="nearest")
    return F.avg_pool2d(x, 2) if how == "down" else x


class UNet(nn.Module):
    """Noise predictor: x (B, C, H, W), t (B,) int64, y (B,) int64 or None, to (B, C, H, W)."""

    def __init__(
        self,
        image_size: int,
        channels: int,
        width: int,
        blocks: int,
        multipliers: list[int],
        attention: list[int],
        heads: int,
        head_width: int | None,
        scale_shift: bool,
        groups: int,
        dropout: float,
        learned_sigma: bool,
        num_classes: int,
        label_dropout: float,
        residual_resampling: bool,
        thirds: bool,
    ) -> None:
        super().__init__()
        halvings = len(multipliers) - 1
        if image_size % 2**halvings:
            raise ValueError(f"{len(multipliers)} levels need a side that is a multiple of {2**halvings}.")
        if bad := [m for m in multipliers if int(m * width) % groups]:
            raise ValueError(
                f"{groups} groups do not divide {int(bad[0] * width)} channels; set groups or width."
            )
        self.learned_sigma, self.num_classes, self.label_dropout = learned_sigma, num_classes, label_dropout
        condition = 4 * width
        self.time = TimeEmbedding(width, condition)
        self.label = nn.Embedding(label_rows(num_classes, label_dropout), condition) if num_classes else None

        def block(inner: int, outer: int, resample: str | None = None) -> Block:
            return Block(inner, outer, condition, groups, dropout, scale_shift, resample)

        def attend(level_width: int, factor: int) -> Attention:
            count = level_width // head_width if head_width else heads
            return Attention(level_width, (image_size // factor,) * 2, count, groups, thirds)

        def change(level_width: int, up: bool) -> nn.Module:
            if residual_resampling:
                return block(level_width, level_width, "up" if up else "down")
            return Resample(level_width, up)

        now = int(multipliers[0] * width)
        self.stem = nn.Conv2d(channels, now, 3, padding=1)
        kept, factor, down = [now], 1, []
        for level, multiplier in enumerate(multipliers):
            for _ in range(blocks):
                outer = int(multiplier * width)
                down.append(
                    Stage(block(now, outer), *([attend(outer, factor)] if factor in attention else []))
                )
                now = outer
                kept.append(now)
            if level < halvings:
                down.append(Stage(change(now, up=False)))
                kept.append(now)
                factor *= 2
        self.down = nn.ModuleList(down)
        self.middle = Stage(block(now, now), attend(now, factor), block(now, now))
        up = []
        for level, multiplier in reversed(list(enumerate(multipliers))):
            for position in range(blocks + 1):
                outer = int(multiplier * width)
                parts = [block(now + kept.pop(), outer)]
                now = outer
                if factor in attention:
                    parts.append(attend(now, factor))
                if level and position == blocks:
                    parts.append(change(now, up=True))
                    factor //= 2
                up.append(Stage(*parts))
        self.up = nn.ModuleList(up)
        self.norm = nn.GroupNorm(groups, now)
        self.head = zeroed(nn.Conv2d(now, channels * (2 if learned_sigma else 1), 3, padding=1))

    def raw(self, x: Tensor, t: Tensor, y: Tensor | None = None) -> Tensor:
        """Return all output channels: the noise, then with learned variance its interpolation values."""
        c = self.time(t)
        if self.label is not None:
            c = c + self.label(resolve_labels(y, t, self.num_classes, self.label_dropout, self.training))
        x = self.stem(x)
        kept = [x]
        for stage in self.down:
            x = stage(x, c)
            kept.append(x)
        x = self.middle(x, c)
        for stage in self.up:
            x = stage(torch.cat([x, kept.pop()], dim=1), c)
        return self.head(F.silu(self.norm(x)))

    def forward(self, x: Tensor, t: Tensor, y: Tensor | None = None) -> Tensor:
        return self.raw(x, t, y)[:, : x.shape[1]]


@register_model("unet")
def unet(
    image_size: int,
    channels: int,
    width: int = 128,
    blocks: int = 3,
    multipliers: list[int] | None = None,
    attention: list[int] | None = None,
    heads: int = 4,
    scale_shift: bool = True,
    groups: int = 32,
    dropout: float = 0.0,
    learned_sigma: bool = False,
    num_classes: int = 0,
    label_dropout: float = 0.0,
) -> UNet:
    """Build improved-diffusion's UNet.

    ``attention`` lists the downsampling factors with attention (the middle always has it).
    """
    return UNet(
        image_size, channels, width, blocks, multipliers or [1, 2, 2, 2], attention or [], heads, None, scale_shift,
        groups, dropout, learned_sigma, num_classes, label_dropout, False, False,
    )  # fmt: skip


@register_model("adm")
def adm(
    image_size: int,
    channels: int,
    width: int = 192,
    blocks: int = 3,
    multipliers: list[float] | None = None,
    attention: list[int] | None = None,
    heads: int = 4,
    head_width: int | None = 64,
    scale_shift: bool = True,
    groups: int = 32,
    dropout: float = 0.0,
    learned_sigma: bool = True,
    num_classes: int = 0,
    label_dropout: float = 0.0,
    residual_resampling: bool = True,
    thirds: bool = False,
) -> UNet:
    """Build guided-diffusion's UNet; ``head_width`` null takes ``heads`` at every level."""
    return UNet(
        image_size, channels, width, blocks, multipliers or [1, 2, 3, 4], attention or [], heads, head_width, scale_shift,
        groups, dropout, learned_sigma, num_classes, label_dropout, residual_resampling, thirds,
    )  # fmt: skip

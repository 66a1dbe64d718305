"""The UNets of improved-diffusion (Nichol & Dhariwal 2021) and guided-diffusion (ADM, Dhariwal & Nichol 2021).

Down path, middle (block, attention, block), up path with concatenated skips.  The two families are one network with
other defaults: ADM resamples inside residual blocks and fixes the width of a head.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Annotated

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bench.models.attention import AttentionCore
from bench.models.embeddings import TimeEmbedding, label_table, resolve_labels
from bench.models.layers import check_images
from bench.models.options import Count, Dropout, Must, Number, Positive
from bench.models.registry import register_model

Multipliers = Annotated[Sequence[Positive], Must("a list of numbers above 0, one per level", len)]


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
        if heads < 1 or width % heads:
            raise ValueError(f"{heads} heads do not divide {width} channels; set heads or head_width.")
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
    """Half or twice the side. With ``conv`` by a 3x3 convolution, of stride 2 or after repeating each pixel."""

    def __init__(self, width: int, how: str, conv: bool) -> None:
        super().__init__()
        self.how = how
        self.conv = nn.Conv2d(width, width, 3, padding=1, stride=2 if how == "down" else 1) if conv else None

    def forward(self, x: Tensor) -> Tensor:
        if self.conv is None:
            return resampled(x, self.how)
        return self.conv(x if self.how == "down" else resampled(x, "up"))


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


@register_model("unet")
class UNet(nn.Module):
    """Noise predictor: x (B, C, H, W), t (B,) int64, y (B,) int64 or None, to (B, C, H, W).

    ``attention`` lists the downsampling factors (1, 2, 4, ...) with attention; the middle always has it. A head is
    ``head_width`` channels wide, or there are ``heads`` at every level. ``residual_resampling`` resamples inside
    residual blocks, else by convolutions, or without ``conv_resample`` by mean and repetition alone.
    Raises ValueError for values that do not go together.
    """

    def __init__(
        self,
        image_size: int,
        channels: int,
        *,
        width: Count = 128,
        blocks: Count = 3,
        multipliers: Multipliers = (1, 2, 2, 2),
        attention: Sequence[Count] = (),
        heads: Count = 4,
        head_width: Count | None = None,
        scale_shift: bool = True,
        groups: Count = 32,
        dropout: Dropout = 0.0,
        learned_sigma: bool = False,
        num_classes: Number = 0,
        label_dropout: Dropout = 0.0,
        residual_resampling: bool = False,
        conv_resample: bool = True,
        thirds: bool = False,
    ) -> None:
        super().__init__()
        widths = [int(multiplier * width) for multiplier in multipliers]
        halvings, condition = len(widths) - 1, 4 * width
        _check(image_size, widths, groups, attention)
        self.channels, self.side = channels, image_size
        self.learned_sigma, self.num_classes, self.label_dropout = learned_sigma, num_classes, label_dropout
        self.time = TimeEmbedding(width, condition)
        self.label = label_table(num_classes, label_dropout, condition)

        def block(inner: int, outer: int, resample: str | None = None) -> Block:
            return Block(inner, outer, condition, groups, dropout, scale_shift, resample)

        def attend(level: int) -> Attention:
            count = widths[level] // head_width if head_width else heads
            return Attention(widths[level], (image_size // 2**level,) * 2, count, groups, thirds)

        def step(inner: int, level: int) -> list[nn.Module]:
            return [block(inner, widths[level]), *([attend(level)] if 2**level in attention else [])]

        def change(level: int, how: str) -> nn.Module:
            if residual_resampling:
                return block(widths[level], widths[level], how)
            return Resample(widths[level], how, conv_resample)

        self.stem = nn.Conv2d(channels, widths[0], 3, padding=1)
        kept, down = [widths[0]], []
        for level in range(len(widths)):
            for _ in range(blocks):
                down.append(Stage(*step(kept[-1], level)))
                kept.append(widths[level])
            if level < halvings:
                down.append(Stage(change(level, "down")))
                kept.append(widths[level])
        self.down = nn.ModuleList(down)
        now = widths[-1]
        self.middle = Stage(block(now, now), attend(halvings), block(now, now))
        up = []
        for level in reversed(range(len(widths))):
            for position in range(blocks + 1):
                parts = step(now + kept.pop(), level)
                now = widths[level]
                up.append(Stage(*parts, *([change(level, "up")] if level and position == blocks else [])))
        self.up = nn.ModuleList(up)
        self.norm = nn.GroupNorm(groups, now)
        self.head = zeroed(nn.Conv2d(now, channels * (1 + learned_sigma), 3, padding=1))

    def raw(self, x: Tensor, t: Tensor, y: Tensor | None = None) -> Tensor:
        """Return all output channels: the noise, then with learned variance its interpolation values."""
        check_images(x, self.channels, self.side)
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
        return self.raw(x, t, y)[:, : self.channels]


def _check(side: int, widths: list[int], groups: int, attention: Sequence[int]) -> None:
    """Raise ValueError if levels, groups, attention and the image side do not go together."""
    halvings = len(widths) - 1
    if side % 2**halvings:
        raise ValueError(f"{len(widths)} levels need a side that is a multiple of {2**halvings}.")
    if bad := [width for width in widths if width < 1 or width % groups]:
        raise ValueError(f"{groups} groups do not divide {bad[0]} channels; set groups or width.")
    if missing := set(attention) - {2**level for level in range(len(widths))}:
        raise ValueError(
            f"attention lists the downsampling factor {min(missing)}, which {len(widths)} levels do not reach: "
            f"give factors of 1 to {2**halvings}, not image sides."
        )


adm = register_model("adm")(
    functools.partial(
        UNet, width=192, multipliers=(1, 2, 3, 4), head_width=64, learned_sigma=True, residual_resampling=True
    )
)

"""EDM's networks (Karras et al. 2022, arXiv 2206.00364): the UNets DDPM++ and NCSN++ of Song et al. (2021), preconditioned.

EDM denoises x_0 + sigma n by ``D = c_skip x + c_out F(c_in x, log(sigma) / 4)`` with the coefficients of its Table 1, F
being the UNet.  Here ``x_t / sqrt(abar)`` is such an image, with ``sigma = sqrt((1 - abar) / abar)``, and the noise is
``(x_t / sqrt(abar) - D) / sigma``.  With ``r = sqrt(1 - abar + abar s^2)``, s the deviation of the data, all of this is

    u = x_t / r,    eps = (sqrt(1 - abar) u - s sqrt(abar) F(u, log(sigma) / 4)) / r

which subtracts no nearly equal numbers at low noise.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bench.diffusion.schedule import make_schedule
from bench.models.attention import AttentionCore
from bench.models.embeddings import resolve_labels
from bench.models.layers import check_images
from bench.models.options import Count, Dropout, Number, Positive
from bench.models.registry import register_model
from bench.models.unet import Multipliers, zeroed

Form = Literal["ddpm++", "ncsn++"]
FILTERS = {"ddpm++": (1.0, 1.0), "ncsn++": (1.0, 3.0, 3.0, 1.0)}  # of every change of side
SPREAD = 16.0  # of the random frequencies of NCSN++
HALF = math.sqrt(0.5)  # keeps the variance of a sum of two branches


def norm(width: int) -> nn.GroupNorm:
    """Return the norm of ``width`` channels: 32 groups, or fewer of four channels; ValueError if they do not divide."""
    groups = min(32, width // 4)
    if groups < 1 or width % groups:
        raise ValueError(
            f"{width} channels cannot be normalised in groups of four or in 32 groups; change width."
        )
    return nn.GroupNorm(groups, width, eps=1e-6)


class Resample(nn.Module):
    """Half or twice the side by a separable filter, (B, C, H, W); ``padding`` False leaves out the border."""

    def __init__(self, how: str, taps: Sequence[float], padding: bool = True) -> None:
        super().__init__()
        line = torch.tensor(taps) / sum(taps)
        self.register_buffer("filter", torch.outer(line, line)[None, None], persistent=False)
        self.how, self.padding = how, (len(taps) - 1) // 2 if padding else 0

    def forward(self, x: Tensor) -> Tensor:
        width = x.shape[1]
        kernel = self.filter.to(x.dtype).expand(width, -1, -1, -1)
        if self.how == "up":
            return F.conv_transpose2d(x, 4 * kernel, stride=2, padding=self.padding, groups=width)
        return F.conv2d(x, kernel, stride=2, padding=self.padding, groups=width)


class Attention(nn.Module):
    """Self-attention with one head over all positions, the mean with its input times sqrt 2, (B, C, H, W)."""

    def __init__(self, width: int, side: int) -> None:
        super().__init__()
        self.norm = norm(width)
        self.qkv = nn.Conv2d(width, 3 * width, 1)
        self.core = AttentionCore((side, side))
        self.out = zeroed(nn.Conv2d(width, width, 1))

    def forward(self, x: Tensor) -> Tensor:
        b, c, h, w = x.shape
        parts = self.qkv(self.norm(x)).view(b, 1, c, 3, h * w).unbind(3)  # q, k, v of a channel lie together
        found = self.core(*(part.transpose(-1, -2) for part in parts))
        return HALF * (x + self.out(found.transpose(-1, -2).reshape(b, c, h, w)))


class Block(nn.Module):
    """norm, SiLU, 3x3; plus the condition; norm, SiLU, 3x3 (zero); plus the input, times sqrt 1/2; perhaps attention.

    (B, inner, H, W) to (B, outer, H', W').  ``change`` is "up", "down" or None; both branches are resampled first.
    """

    def __init__(
        self, inner: int, outer: int, condition: int, dropout: float, taps: Sequence[float],
        change: str | None = None, attention: int | None = None,
    ) -> None:  # fmt: skip
        super().__init__()
        self.norm1 = norm(inner)
        self.resample = Resample(change, taps) if change else nn.Identity()
        self.conv1 = nn.Conv2d(inner, outer, 3, padding=1)
        self.condition = nn.Linear(condition, outer)
        self.norm2 = norm(outer)
        self.dropout = nn.Dropout(dropout)
        self.conv2 = zeroed(nn.Conv2d(outer, outer, 3, padding=1))
        self.skip = nn.Conv2d(inner, outer, 1) if change or inner != outer else nn.Identity()
        self.attention = Attention(outer, attention) if attention else nn.Identity()

    def forward(self, x: Tensor, c: Tensor) -> Tensor:
        h = self.conv1(self.resample(F.silu(self.norm1(x)))) + self.condition(c)[:, :, None, None]
        h = self.conv2(self.dropout(F.silu(self.norm2(h))))
        return self.attention(HALF * (self.skip(self.resample(x)) + h))


class Level(nn.Module):
    """The blocks at one side, after the one that changes to it.

    ``residual`` maps the image, or what the last level made of it, to this side (the "residual" encoder of NCSN++).
    """

    def __init__(
        self, change: Block | None, blocks: Sequence[Block], residual: nn.Module | None = None
    ) -> None:
        super().__init__()
        self.change, self.residual = change, residual
        self.blocks = nn.ModuleList(blocks)


class Condition(nn.Module):
    """log(sigma) / 4 (B,) and labels (B,) or None to the condition (B, 4 width).

    DDPM++ codes the noise by ``width`` sines and cosines of fixed frequencies, NCSN++ by twice as many of random ones.
    The null label is the class after the last, and adds nothing but the bias.
    """

    def __init__(self, width: int, form: Form, num_classes: int) -> None:
        super().__init__()
        half = width if form == "ncsn++" else width // 2
        if half < 2:
            raise ValueError(f"width must be at least 4, not {width}.")
        falling = 10_000.0 ** (-torch.arange(half) / (half - 1))
        table = SPREAD * torch.randn(half) if form == "ncsn++" else falling
        self.register_buffer("frequencies", table, persistent=form == "ncsn++")
        self.turn = 2 * math.pi if form == "ncsn++" else 1.0
        self.num_classes = num_classes
        self.label = nn.Linear(num_classes, 2 * half) if num_classes else None
        self.first = nn.Linear(2 * half, 4 * width)
        self.second = nn.Linear(4 * width, 4 * width)

    def forward(self, level: Tensor, y: Tensor | None) -> Tensor:
        angles = level[:, None] * (self.turn * self.frequencies)
        code = torch.cat([angles.sin(), angles.cos()], dim=1).to(self.first.weight.dtype)
        if self.label is not None and y is not None:
            chosen = F.one_hot(y, self.num_classes + 1)[:, :-1].to(code.dtype)
            code = code + self.label(chosen * math.sqrt(self.num_classes))
        return F.silu(self.second(F.silu(self.first(code))))


@register_model("edm")
class EDM(nn.Module):
    """Noise predictor: x (B, C, H, W), t (B,) int64, y (B,) int64 or None, to eps (B, C, H, W).

    ``form`` is the UNet; ``attention`` lists the downsampling factors with attention: in every block of the down path
    and the last of the up path, the middle always has it.  ``schedule`` and ``timesteps`` must be the run's, since the
    network is given the noise level; ``deviation`` is that of the data in [-1, 1].  EDM's augmentation labels are zero
    outside of its own training and have no weights here.  Initial values are torch's, but for the zero convolutions.
    Raises ValueError for values that do not go together.
    """

    predicts_noise = True  # D is a function of the noise level and eps one of D

    def __init__(
        self,
        image_size: int,
        channels: int,
        *,
        form: Form = "ddpm++",
        width: Count = 128,
        blocks: Count = 4,
        multipliers: Multipliers = (2, 2, 2),
        attention: Sequence[Count] = (2,),
        dropout: Dropout = 0.0,
        deviation: Positive = 0.5,
        num_classes: Number = 0,
        label_dropout: Dropout = 0.0,
        schedule: Literal["linear", "cosine"] = "linear",
        timesteps: Count = 1000,
    ) -> None:
        super().__init__()
        _check(image_size, len(multipliers), attention)
        if label_dropout and not num_classes:
            raise ValueError("label_dropout needs num_classes of at least 1.")
        self.channels, self.side = channels, image_size
        self.num_classes, self.label_dropout = num_classes, label_dropout
        self.noise_schedule = schedule, timesteps
        self._keep_levels(schedule, timesteps, deviation)
        self.condition = Condition(width, form, num_classes)
        widths, taps = [int(multiplier * width) for multiplier in multipliers], FILTERS[form]
        sides = [image_size // 2**level for level in range(len(widths))]

        def block(inner: int, outer: int, change: str | None = None, attend: int | None = None) -> Block:
            return Block(inner, outer, 4 * width, dropout, taps, change, attend)

        def attends(level: int) -> int | None:
            return sides[level] if 2**level in attention else None

        self.stem = nn.Conv2d(channels, width, 3, padding=1)
        kept, image, now, down = [width], channels, width, {}
        for level, outer in enumerate(widths):
            change, residual = (block(now, now, "down") if level else None), None
            if level:
                kept.append(now)
            if level and form == "ncsn++":
                conv = nn.Conv2d(image, now, 3, padding=1 + (len(taps) - 1) // 2)
                residual, image = nn.Sequential(conv, Resample("down", taps, padding=False)), now
            steps = [block(now if i == 0 else outer, outer, attend=attends(level)) for i in range(blocks)]
            down[str(sides[level])], now = Level(change, steps, residual), outer
            kept += [outer] * blocks
        self.down = nn.ModuleDict(down)
        self.middle = nn.ModuleList([block(now, now, attend=sides[-1]), block(now, now)])
        up = {}
        for level in reversed(range(len(widths))):
            change = block(now, now, "up") if level < len(widths) - 1 else None
            steps = []
            for i in range(blocks + 1):
                steps.append(
                    block(now + kept.pop(), widths[level], attend=attends(level) if i == blocks else None)
                )
                now = widths[level]
            up[str(sides[level])] = Level(change, steps)
        self.up = nn.ModuleDict(up)
        self.norm = norm(now)
        self.head = zeroed(nn.Conv2d(now, channels, 3, padding=1))

    def _keep_levels(self, schedule: str, timesteps: int, s: float) -> None:
        """Keep, by timestep, the noise that the UNet is told and the factors of x_t, of u and of its output."""
        abar = torch.tensor(make_schedule(schedule, timesteps).alphas_cumprod)
        r = (1 - abar + abar * s**2).sqrt()
        told = ((1 - abar) / abar).log() / 8  # log(sigma) / 4
        levels = torch.stack([told, 1 / r, (1 - abar).sqrt() / r, s * abar.sqrt() / r])
        self.register_buffer("levels", levels.float(), persistent=False)

    def forward(self, x: Tensor, t: Tensor, y: Tensor | None = None) -> Tensor:
        check_images(x, self.channels, self.side)
        told, *factors = self.levels[:, t]
        first, of_input, of_output = (factor[:, None, None, None] for factor in factors)
        u = first * x
        if self.num_classes:
            y = resolve_labels(y, t, self.num_classes, self.label_dropout, self.training)
        return (of_input * u - of_output * self.unet(u, told, y)).to(x.dtype)

    def unet(self, u: Tensor, told: Tensor, y: Tensor | None) -> Tensor:
        """Return F of scaled images (B, C, H, W) and log(sigma) / 4 (B,)."""
        c = self.condition(told, y)
        x, image = self.stem(u), u
        kept = [x]
        for level in self.down.values():
            if level.change is not None:
                x = level.change(x, c)
                if level.residual is not None:
                    x = image = HALF * (x + level.residual(image))
                kept.append(x)
            for block in level.blocks:
                x = block(x, c)
                kept.append(x)
        for block in self.middle:
            x = block(x, c)
        for level in self.up.values():
            if level.change is not None:
                x = level.change(x, c)
            for block in level.blocks:
                x = block(torch.cat([x, kept.pop()], dim=1), c)
        return self.head(F.silu(self.norm(x)))


def _check(side: int, levels: int, attention: Sequence[int]) -> None:
    """Raise ValueError if levels, attention and the image side do not go together."""
    if side % 2 ** (levels - 1):
        raise ValueError(f"{levels} levels need a side that is a multiple of {2 ** (levels - 1)}.")
    if missing := set(attention) - {2**level for level in range(levels)}:
        raise ValueError(
            f"attention lists the downsampling factor {min(missing)}, which {levels} levels do not reach: "
            f"give factors of 1 to {2 ** (levels - 1)}, not image sides."
        )

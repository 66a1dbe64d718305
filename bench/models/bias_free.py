"""Bias-free blind denoisers of Kadkhodaie et al. (arXiv 2310.02557): a UNet, and BF-CNN (Mohan et al. 2020).

No layer adds a constant and none sees the noise level, so in evaluation mode the network f is homogeneous of
degree one, f(a x) = a f(x) for a > 0, and equal to its own linearisation: J(x) x = f(x). It takes noisy images
``x_0 + sigma eps`` in [0, 1] plus noise and returns the residual ``sigma eps``.

`BlindDenoiser` wraps such a network to the project's contract. For ``x_t = sqrt(abar) x_0 + sqrt(1 - abar) eps``
with x_0 in [-1, 1], the image in [0, 1] is ``(x_t / sqrt(abar) + 1) / 2`` and its noise has the deviation
``sigma = sqrt(1 - abar) / (2 sqrt(abar))``. Homogeneity turns ``f(image) / sigma`` into
``f(x_t + sqrt(abar)) / sqrt(1 - abar)``: the same function, whose input has the same size at every noise level,
as the batch statistics of training need (sigma runs from 0.005 to 79 in a linear schedule).
"""

from __future__ import annotations

from typing import Annotated, Literal

import torch
from torch import Tensor, nn

from bench.diffusion.schedule import make_schedule
from bench.models.options import Count, Must
from bench.models.registry import register_model

MOMENTUM = 0.1
EPSILON = 1e-5
SMALLEST_GAIN, LARGEST_GAIN = 2 / (9 * 64), 0.025  # of the reference's initial values: spread and bound


class BiasFreeNorm(nn.Module):
    """Divide each channel by its deviation and multiply by a gain; no mean is removed, nothing is added.

    (B, C, H, W). In training the deviation about the mean over batch and space, which also updates
    ``running_deviation``; in evaluation that running value as it is. It starts at the deviation of silence, not at
    the reference's 1: the initial gains make deviations near 0.005, and a 1 would be forgotten only after a
    hundred steps, until when a network evaluates to nothing. ``momentum`` None averages all batches since
    `reset_running_stats`, as torch's batch norms do.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.gain = nn.Parameter((SMALLEST_GAIN * torch.randn(width)).clamp_(-LARGEST_GAIN, LARGEST_GAIN))
        self.register_buffer("running_deviation", torch.empty(width))
        self.momentum: float | None = MOMENTUM
        self.reset_running_stats()

    def reset_running_stats(self) -> None:
        self.running_deviation.fill_(EPSILON**0.5)
        self.batches = 0

    def forward(self, x: Tensor) -> Tensor:
        deviation = self.running_deviation
        if self.training:
            variance = x.float().var(dim=(0, 2, 3), unbiased=False)
            deviation = (variance + EPSILON).sqrt()
            if self.momentum is None:
                self.batches += 1
            self.running_deviation.lerp_(deviation.detach(), self.momentum or 1 / self.batches)
        return x * (self.gain / deviation).to(x.dtype)[:, None, None]


def _conv(inner: int, outer: int) -> nn.Conv2d:
    conv = nn.Conv2d(inner, outer, 3, padding=1, bias=False)
    nn.init.kaiming_normal_(conv.weight)
    return conv


def _layer(inner: int, outer: int) -> list[nn.Module]:
    return [_conv(inner, outer), BiasFreeNorm(outer), nn.ReLU()]


class Up(nn.Module):
    """2x2 transposed convolution to half the channels, joined with the kept features, then two convolutions."""

    def __init__(self, width: int, outputs: int | None) -> None:
        super().__init__()
        self.upsample = nn.ConvTranspose2d(2 * width, width, 2, stride=2, bias=False)
        nn.init.kaiming_normal_(self.upsample.weight)
        last = _layer(width, width) if outputs is None else [_conv(width, outputs)]
        self.layers = nn.Sequential(*_layer(2 * width, width), *last)

    def forward(self, x: Tensor, kept: Tensor) -> Tensor:
        return self.layers(torch.cat([self.upsample(x), kept], dim=1))


class BiasFreeUNet(nn.Module):
    """Residual network: noisy images (B, C, H, W) in [0, 1] plus noise to their noise, same shape."""

    def __init__(self, channels: int, width: int, levels: int) -> None:
        super().__init__()
        widths = [width * 2**level for level in range(levels)]
        first = nn.Sequential(_conv(channels, width), nn.ReLU(), *_layer(width, width))
        deeper = (nn.Sequential(*_layer(w // 2, w), *_layer(w, w)) for w in widths[1:])
        self.down = nn.ModuleList([first, *deeper])
        self.pool = nn.AvgPool2d(2)
        bottom = 2 * widths[-1]
        self.middle = nn.Sequential(*_layer(widths[-1], bottom), *_layer(bottom, bottom))
        self.up = nn.ModuleList(Up(w, None if w > width else channels) for w in reversed(widths))

    def forward(self, x: Tensor) -> Tensor:
        kept = []
        for level in self.down:
            kept.append(level(x))
            x = self.pool(kept[-1])
        x = self.middle(x)
        for level in self.up:
            x = level(x, kept.pop())
        return x


class BlindDenoiser(nn.Module):
    """A residual network behind the contract ``forward(x, t, y=None) -> eps_hat``, (B, C, H, W).

    ``residual`` is the network itself, f. ``t`` and the schedule tell only how ``x`` was scaled; f sees neither.
    ``noise_schedule`` is (name, number of steps), which a training must share.
    """

    predicts_noise = True  # read as a velocity or an image, f would not be homogeneous

    def __init__(self, residual: nn.Module, side_multiple: int, schedule: str, timesteps: int) -> None:
        super().__init__()
        self.residual, self.side_multiple = residual, side_multiple
        self.noise_schedule = schedule, timesteps
        kept = torch.tensor(make_schedule(schedule, timesteps).alphas_cumprod)
        self.register_buffer("signal", kept.sqrt().float(), persistent=False)
        self.register_buffer("noise", (1 - kept).sqrt().float(), persistent=False)

    def forward(self, x: Tensor, t: Tensor, y: Tensor | None = None) -> Tensor:
        if any(side % self.side_multiple for side in x.shape[2:]):
            raise ValueError(
                f"this network halves the image: sides must be multiples of {self.side_multiple}, "
                f"not {tuple(x.shape[2:])}."
            )
        signal, noise = (table[t].view(-1, 1, 1, 1) for table in (self.signal, self.noise))
        return (self.residual(x + signal) / noise).to(x.dtype)


@register_model("bf-unet")
def bf_unet(
    image_size: int,
    channels: int,
    *,
    width: Count = 64,
    levels: Count = 2,
    schedule: Literal["linear", "cosine"] = "linear",
    timesteps: Count = 1000,
) -> BlindDenoiser:
    """Build the bias-free UNet: ``levels`` halvings, ``width`` channels at the top, doubled at each level.

    The published levels are 1 to 4 for 20, 40, 80 and 160 pixels. ``schedule`` and ``timesteps`` must be the
    training's. Raises ValueError if the image cannot be halved that often.
    """
    if image_size % 2**levels:
        raise ValueError(f"{levels} levels need a side that is a multiple of {2**levels}, not {image_size}.")
    return BlindDenoiser(BiasFreeUNet(channels, width, levels), 2**levels, schedule, timesteps)


@register_model("bf-cnn")
def bf_cnn(
    image_size: int,
    channels: int,
    *,
    width: Count = 64,
    depth: Annotated[int, Must("a whole number of at least 2", lambda n: n >= 2)] = 21,
    schedule: Literal["linear", "cosine"] = "linear",
    timesteps: Count = 1000,
) -> BlindDenoiser:
    """Build BF-CNN: ``depth`` 3x3 convolutions at full resolution, so a receptive field of 2 depth + 1 pixels."""
    inner = [part for _ in range(depth - 2) for part in _layer(width, width)]
    residual = nn.Sequential(_conv(channels, width), nn.ReLU(), *inner, _conv(width, channels))
    return BlindDenoiser(residual, 1, schedule, timesteps)

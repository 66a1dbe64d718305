"""The networks of Kamb & Ganguli (arXiv 2412.20292): a UNet and a ResNet without normalisation of features.

Both are convolutional up to their padding: with ``padding: circular`` they commute with shifts of the image, with zeros
they see its border; that is what their closed forms (``local-score``) are compared for. ReLU throughout. Time and
class enter each block through a linear map of their own, added before its convolutions. As released, except the
time code, which is that of the other families: of whole timesteps, not of their share of the process.
"""

from __future__ import annotations

from typing import Annotated, Literal

import torch
from torch import Tensor, nn

from bench.models.embeddings import label_table, resolve_labels, time_code
from bench.models.layers import check_images
from bench.models.options import Count, Dropout, Must, Number
from bench.models.registry import register_model

CODE_WIDTH = 256  # of time and class in the UNet
NORM_GROUPS = 8  # of the ResNet's time map, the only norm
Padding = Literal["zeros", "circular"]
Width = Annotated[int, Must("a multiple of 8 from 16 on", lambda w: w >= 16 and w % NORM_GROUPS == 0)]


def _conv(inner: int, outer: int, padding: Padding) -> nn.Conv2d:
    return nn.Conv2d(inner, outer, 3, padding=1, padding_mode=padding)


class Conditional(nn.Module):
    """What both networks share: images in, a code (B, width) of time and class, the noise out."""

    def __init__(
        self, image_size: int, channels: int, code_width: int, num_classes: int, label_dropout: float
    ) -> None:
        super().__init__()
        self.channels, self.side, self.code_width = channels, image_size, code_width
        self.num_classes, self.label_dropout = num_classes, label_dropout
        self.labels = label_table(num_classes, label_dropout, code_width)

    def code(self, t: Tensor, y: Tensor | None) -> Tensor:
        """Return the sum of time code and class vector."""
        code = time_code(t, self.code_width)
        if self.labels is None:
            return code
        return code + self.labels(resolve_labels(y, t, self.num_classes, self.label_dropout, self.training))

    def forward(self, x: Tensor, t: Tensor, y: Tensor | None = None) -> Tensor:
        check_images(x, self.channels, self.side)
        return self.predict(x, self.code(t, y))

    def predict(self, x: Tensor, code: Tensor) -> Tensor:
        """Return the noise (B, C, H, W) for noisy images and their codes (B, code width)."""
        raise NotImplementedError


class UNetBlock(nn.Module):
    """Two convolutions with ReLU, (B, inner, H, W) to (B, outer, H, W), after a map of the code is added."""

    def __init__(self, inner: int, outer: int, padding: Padding) -> None:
        super().__init__()
        self.time = nn.Linear(CODE_WIDTH, inner)
        self.first, self.second = _conv(inner, outer, padding), _conv(outer, outer, padding)

    def forward(self, x: Tensor, code: Tensor) -> Tensor:
        x = x + self.time(code.relu())[:, :, None, None]
        return self.second(self.first(x).relu()).relu()


@register_model("nf-unet")
class NormFreeUNet(Conditional):
    """Noise predictor of ``levels`` scales, ``width`` channels at the top, doubled at each; published: 64 and 3.

    2x2 maxima down, transposed 2x2 convolutions up, kept features joined. Raises ValueError if the image cannot
    be halved that often.
    """

    def __init__(
        self,
        image_size: int,
        channels: int,
        *,
        width: Count = 64,
        levels: Count = 3,
        padding: Padding = "zeros",
        num_classes: Number = 0,
        label_dropout: Dropout = 0.0,
    ) -> None:
        super().__init__(image_size, channels, CODE_WIDTH, num_classes, label_dropout)
        if image_size % 2 ** (levels - 1):
            raise ValueError(
                f"{levels} levels need a side that is a multiple of {2 ** (levels - 1)}, not {image_size}."
            )
        widths = [channels, *(width * 2**level for level in range(levels))]
        self.down = nn.ModuleList(UNetBlock(a, b, padding) for a, b in zip(widths, widths[1:]))
        pairs = list(zip(widths[1:], widths[2:]))[::-1]
        self.ups = nn.ModuleList(nn.ConvTranspose2d(b, a, 2, stride=2) for a, b in pairs)
        self.up = nn.ModuleList(UNetBlock(2 * a, a, padding) for a, _ in pairs)
        self.time = nn.Linear(CODE_WIDTH, width)
        self.out = _conv(width, channels, padding)

    def predict(self, x: Tensor, code: Tensor) -> Tensor:
        kept: list[Tensor] = []
        for level, block in enumerate(self.down):
            x = block(nn.functional.max_pool2d(x, 2) if level else x, code)
            kept.append(x)
        kept.pop()
        for upsample, block in zip(self.ups, self.up):
            x = block(torch.cat([kept.pop(), upsample(x)], dim=1), code)
        return self.out(x + self.time(code.relu())[:, :, None, None])


@register_model("nf-resnet")
class NormFreeResNet(Conditional):
    """Noise predictor of ``depth`` residual 3x3 convolutions between two others; published: 6, ``width`` 256.

    Sees 2 (depth + 2) + 1 pixels across: 17 in the published size.
    """

    def __init__(
        self,
        image_size: int,
        channels: int,
        *,
        width: Width = 256,
        depth: Count = 6,
        padding: Padding = "zeros",
        num_classes: Number = 0,
        label_dropout: Dropout = 0.0,
    ) -> None:
        super().__init__(image_size, channels, width, num_classes, label_dropout)
        self.stem = _conv(channels, width, padding)
        self.times = nn.ModuleList(
            nn.Sequential(nn.Linear(width, width), nn.GroupNorm(NORM_GROUPS, width), nn.ReLU())
            for _ in range(depth + 1)
        )
        self.convs = nn.ModuleList(_conv(width, width, padding) for _ in range(depth))
        self.out = _conv(width, channels, padding)

    def predict(self, x: Tensor, code: Tensor) -> Tensor:
        x = self.stem(x)
        for time, conv in zip(self.times, self.convs):
            x = x + conv(x + time(code)[:, :, None, None]).relu()
        return self.out(x + self.times[-1](code)[:, :, None, None])

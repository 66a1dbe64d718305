"""Plain and U-shaped vision transformers: ``vit``, ``u-vit``, ``iu-vit`` and ``ascend``, from one set of switches.

All inputs are tokens with learned positions; an encoder, an optional middle block and a decoder of pre-norm
blocks follow; long skips join encoder tokens to decoder blocks; a linear map returns each token to its patch.

========== ==========================================================================================
``u-vit``  Bao et al., arXiv 2209.12152: time (and class) as tokens, a skip from block i to block L - i,
           a 3x3 convolution on the image; equal to the published network
``vit``    the same blocks without skips and without the convolution: the baseline of the next two
``iu-vit`` Cao et al., arXiv 2212.13771, an *interpretation*: no code and no full text was available, so
           what the abstract leaves open is a switch (stem, time, skips, output convolution); the
           defaults are those of ``u-vit``, its closest verified relative
``ascend`` the same paper's asymmetric encoder and decoder, an *interpretation*: depths and widths of the
           two sides are options, and decoder block j takes the skip of the encoder block nearest to its
           relative depth
========== ==========================================================================================

A decoder block of ``ascend`` has an MLP of ratio 3 where the encoder's has 4: that pays for its skip map
(2 width^2 multiply-adds per token), so 6 + 2, 4 + 4 and 2 + 6 blocks of one width cost exactly the same.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from bench.models.embeddings import TimeEmbedding, label_rows, resolve_labels, time_code
from bench.models.layers import Mlp, SelfAttention, grid_of, modulate, unpatchify
from bench.models.registry import register_model
from bench.models.windows import parse_windows

Time = Literal["token", "token-mlp", "adaptive"]
Stem = Literal["patch", "overlapping"]
Windows = str | list[int | None] | None


@dataclass(frozen=True)
class Design:
    """What a network of this file is made of; each family sets some of it and leaves the rest as it is here.

    ``time``: the code as a token (``token``), through an MLP first (``token-mlp``), or as shift and scale of
    every LayerNorm (``adaptive``, where a class joins it). ``stem``: each token sees its patch, or, with
    ``overlapping``, also the border of its neighbours (kernel of the next odd size; 3x3 for patch 1 and 2).
    """

    encoder: int
    decoder: int
    width: int
    heads: int
    patch: int
    mlp_ratio: float
    decoder_width: int
    decoder_mlp_ratio: float
    middle: bool = False
    skips: bool = True
    time: Time = "token"
    stem: Stem = "patch"
    output_conv: bool = True
    qkv_bias: bool = False
    num_classes: int = 0
    label_dropout: float = 0.0
    windows: Windows = None

    def __post_init__(self) -> None:
        if min(self.encoder, self.decoder) < 0 or self.encoder + self.middle + self.decoder < 1:
            raise ValueError(f"{self.encoder} + {self.decoder} blocks are not a network; give at least one.")
        if self.skips and self.decoder and not self.encoder:
            raise ValueError("skips need an encoder of at least one block.")
        if not 0 <= self.label_dropout < 1:
            raise ValueError(f"label_dropout must lie in [0, 1), not {self.label_dropout}.")
        if self.num_classes < 0 or (self.label_dropout > 0 and self.num_classes == 0):
            raise ValueError("label_dropout needs num_classes of at least 1.")

    @property
    def extra(self) -> int:
        """How many tokens stand before those of the patches."""
        return 0 if self.time == "adaptive" else 1 + (self.num_classes > 0)

    @property
    def kept(self) -> list[int]:
        """Which encoder block each decoder block takes its skip from: the nearest in relative depth."""
        places = range(self.decoder - 1, -1, -1)
        return [(2 * place + 1) * self.encoder // (2 * self.decoder) for place in places]


class Block(nn.Module):
    """(Skip,) LayerNorm + attention, LayerNorm + MLP on tokens (B, T, width).

    ``skip`` tokens (B, T, skip width) are joined on the channel axis and mapped back before the block. With
    a condition (B, condition width) the norms have no affine part of their own: shift and scale of both are
    regressed from its SiLU, zero at the start.
    """

    def __init__(
        self, attention: SelfAttention, width: int, hidden: int, skip_width: int = 0, condition_width: int = 0
    ) -> None:
        super().__init__()
        self.fuse = nn.Linear(width + skip_width, width) if skip_width else None
        self.attention_norm = nn.LayerNorm(width, elementwise_affine=not condition_width)
        self.attention = attention
        self.mlp_norm = nn.LayerNorm(width, elementwise_affine=not condition_width)
        self.mlp = Mlp(width, hidden, gelu="none")
        self.modulation = nn.Linear(condition_width, 4 * width) if condition_width else None

    def forward(self, x: Tensor, condition: Tensor | None, skip: Tensor | None = None) -> Tensor:
        if self.fuse is not None:
            x = self.fuse(torch.cat([x, skip], dim=-1))
        vectors = None
        if self.modulation is not None:
            vectors = self.modulation(nn.functional.silu(condition)).chunk(4, dim=1)
        x = x + self.attention(_modulated(self.attention_norm(x), vectors and vectors[:2]))
        return x + self.mlp(_modulated(self.mlp_norm(x), vectors and vectors[2:]))


def _modulated(x: Tensor, shift_and_scale: tuple[Tensor, Tensor] | None) -> Tensor:
    return x if shift_and_scale is None else modulate(x, *shift_and_scale)


class ViT(nn.Module):
    """Network of a `Design`; ``forward(x, t, y=None)`` returns the predicted noise, same shape as ``x``."""

    def __init__(self, image_size: int, channels: int, design: Design) -> None:
        super().__init__()
        self.channels, self.design = channels, design
        self.num_classes, self.label_dropout = design.num_classes, design.label_dropout
        self.grid = grid_of(image_size, design.patch)
        width, last = design.width, design.decoder_width if design.decoder else design.width
        self.stem = _stem(channels, design)
        tokens = design.extra + self.grid[0] * self.grid[1]
        self.positions = nn.Parameter(torch.empty(1, tokens, width))
        self.time = None if design.time == "token" else TimeEmbedding(width, width, 4 * width)
        rows = label_rows(design.num_classes, design.label_dropout) if design.num_classes else 0
        self.labels = nn.Embedding(rows, width) if rows else None
        blocks = _blocks(design, self.grid)
        self.encoder = nn.ModuleList(next(blocks) for _ in range(design.encoder))
        self.middle = next(blocks) if design.middle else None
        self.bridge = nn.Linear(width, last) if last != width else None
        self.decoder = nn.ModuleList(blocks)
        self.norm = nn.LayerNorm(last)
        self.out = nn.Linear(last, design.patch**2 * channels)
        self.output_conv = nn.Conv2d(channels, channels, 3, padding=1) if design.output_conv else None
        self._initialise()

    def _initialise(self) -> None:
        """Truncated normal (0.02) maps and positions, zero biases and modulation; the rest is torch's own."""
        nn.init.trunc_normal_(self.positions, std=0.02)
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.trunc_normal_(module.weight, std=0.02)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        for module in self.modules():
            if isinstance(module, Block) and module.modulation is not None:
                nn.init.zeros_(module.modulation.weight)

    def _inputs(self, t: Tensor, y: Tensor | None) -> tuple[list[Tensor], Tensor | None]:
        """Return the tokens (B, 1, width) that stand before the patches, and the condition vector, if any."""
        time = time_code(t, self.design.width) if self.time is None else self.time(t)
        parts = [time.to(self.positions.dtype)]
        if self.labels is not None:
            y = resolve_labels(y, t, self.num_classes, self.label_dropout, self.training)
            parts.insert(0, self.labels(y))
        if self.design.time == "adaptive":
            return [], sum(parts)
        return [part[:, None] for part in parts], None

    def forward(self, x: Tensor, t: Tensor, y: Tensor | None = None) -> Tensor:
        expected = (self.channels, *(n * self.design.patch for n in self.grid))
        if tuple(x.shape[1:]) != expected:
            raise ValueError(f"this ViT was built for images of shape {expected}, not {tuple(x.shape[1:])}.")
        before, condition = self._inputs(t, y)
        tokens = torch.cat([*before, self.stem(x).flatten(2).transpose(1, 2)], dim=1) + self.positions
        kept = []
        for block in self.encoder:
            tokens = block(tokens, condition)
            kept.append(tokens)
        if self.middle is not None:
            tokens = self.middle(tokens, condition)
        if self.bridge is not None:
            tokens = self.bridge(tokens)
        for block, source in zip(self.decoder, self.design.kept, strict=True):
            tokens = block(tokens, condition, kept[source] if self.design.skips else None)
        pixels = self.out(self.norm(tokens[:, self.design.extra :]))
        image = unpatchify(pixels, self.grid, self.design.patch)
        return image if self.output_conv is None else self.output_conv(image)


def _stem(channels: int, design: Design) -> nn.Conv2d:
    kernel = design.patch
    if design.stem == "overlapping":
        kernel += 1 + design.patch % 2
    return nn.Conv2d(channels, design.width, kernel, design.patch, (kernel - design.patch + 1) // 2)


def _blocks(design: Design, grid: tuple[int, int]) -> Iterator[Block]:
    """Make the blocks in the order in which they act."""
    first = design.encoder + design.middle
    windows = parse_windows(design.windows, first + design.decoder, grid[0])
    condition = design.width if design.time == "adaptive" else 0
    for layer, window in enumerate(windows):
        decoder = layer >= first
        width = design.decoder_width if decoder else design.width
        hidden = int(width * (design.decoder_mlp_ratio if decoder else design.mlp_ratio))
        attention = SelfAttention(width, design.heads, grid, window, design.extra, design.qkv_bias)
        yield Block(attention, width, hidden, design.width if decoder and design.skips else 0, condition)


def _halves(depth: int) -> int:
    if depth < 0 or depth % 2:
        raise ValueError(
            f"depth counts both halves and must be even, not {depth}; the middle block is extra."
        )
    return depth // 2


@register_model("vit")
def vit(
    image_size: int,
    channels: int,
    *,
    depth: int,
    width: int,
    heads: int,
    patch: int = 2,
    mlp_ratio: float = 4.0,
    qkv_bias: bool = False,
    num_classes: int = 0,
    label_dropout: float = 0.0,
    windows: Windows = None,
) -> ViT:
    """Build a plain ViT of ``depth`` blocks; time and class are tokens. Raises ValueError for bad values.

    ``windows`` in tokens as in `bench.models.windows.parse_windows`, for the blocks in the order in which
    they act; ``label_dropout`` above 0 adds a null label, which ``y=None`` selects.
    """
    design = Design(
        depth, 0, width, heads, patch, mlp_ratio, width, mlp_ratio, skips=False, output_conv=False,
        qkv_bias=qkv_bias, num_classes=num_classes, label_dropout=label_dropout, windows=windows,
    )  # fmt: skip
    return ViT(image_size, channels, design)


@register_model("u-vit")
def u_vit(
    image_size: int,
    channels: int,
    *,
    depth: int,
    width: int,
    heads: int,
    patch: int = 2,
    mlp_ratio: float = 4.0,
    qkv_bias: bool = False,
    time_mlp: bool = False,
    output_conv: bool = True,
    num_classes: int = 0,
    label_dropout: float = 0.0,
    windows: Windows = None,
) -> ViT:
    """Build a U-ViT: ``depth`` counts both halves, the middle block comes on top.

    Other options as in `vit`; raises ValueError for an odd ``depth`` and for other bad values.
    """
    half = _halves(depth)
    design = Design(
        half, half, width, heads, patch, mlp_ratio, width, mlp_ratio, middle=True,
        time="token-mlp" if time_mlp else "token", output_conv=output_conv, qkv_bias=qkv_bias,
        num_classes=num_classes, label_dropout=label_dropout, windows=windows,
    )  # fmt: skip
    return ViT(image_size, channels, design)


@register_model("iu-vit")
def iu_vit(
    image_size: int,
    channels: int,
    *,
    depth: int,
    width: int,
    heads: int,
    patch: int = 2,
    mlp_ratio: float = 4.0,
    stem: Stem = "patch",
    time: Time = "token",
    skips: bool = True,
    output_conv: bool = True,
    num_classes: int = 0,
    label_dropout: float = 0.0,
    windows: Windows = None,
) -> ViT:
    """Build an IU-ViT (an interpretation): ``depth`` counts both halves, the middle block comes on top.

    Switches as in `Design`, other options as in `vit`; raises ValueError for bad values.
    """
    half = _halves(depth)
    design = Design(
        half, half, width, heads, patch, mlp_ratio, width, mlp_ratio, middle=True, skips=skips, time=time,
        stem=stem, output_conv=output_conv, num_classes=num_classes, label_dropout=label_dropout, windows=windows,
    )  # fmt: skip
    return ViT(image_size, channels, design)


@register_model("ascend")
def ascend(
    image_size: int,
    channels: int,
    *,
    encoder: int,
    decoder: int,
    width: int,
    heads: int,
    decoder_width: int | None = None,
    patch: int = 2,
    mlp_ratio: float = 4.0,
    decoder_mlp_ratio: float = 3.0,
    stem: Stem = "patch",
    time: Time = "token",
    output_conv: bool = True,
    num_classes: int = 0,
    label_dropout: float = 0.0,
    windows: Windows = None,
) -> ViT:
    """Build an ASCEND (an interpretation): ``encoder`` and ``decoder`` blocks, no middle block.

    ``decoder_width`` is the encoder's ``width`` unless given, and a linear map joins different widths.
    Switches as in `Design`, other options as in `vit`; raises ValueError for bad values.
    """
    if min(encoder, decoder) < 1:
        raise ValueError(f"encoder and decoder must be at least 1, not {encoder} and {decoder}.")
    design = Design(
        encoder, decoder, width, heads, patch, mlp_ratio, decoder_width or width, decoder_mlp_ratio, time=time,
        stem=stem, output_conv=output_conv, num_classes=num_classes, label_dropout=label_dropout, windows=windows,
    )  # fmt: skip
    return ViT(image_size, channels, design)

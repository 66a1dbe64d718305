"""Plain and U-shaped vision transformers: ``vit``, ``u-vit``, ``iu-vit`` and ``ascend``, from one set of switches.

All inputs are tokens with learned positions; an encoder, an optional middle block and a decoder of pre-norm
blocks follow; long skips join encoder tokens to decoder blocks; a linear map returns each token to its patch.

========== ==========================================================================================
``u-vit``  Bao et al., arXiv 2209.12152: time (and class) as tokens, a skip from block i to block L - i,
           a 3x3 convolution on the image; equal to the published network
``vit``    the same blocks without skips and without the convolution: the baseline of the next two
``iu-vit`` Cao et al., arXiv 2212.13771, an *interpretation*: no code and no full text was available, so
           what the abstract leaves open is a switch of ``u-vit``, its closest verified relative
``ascend`` the same paper's asymmetric encoder and decoder, an *interpretation*: depths and widths of the
           two sides are options, and decoder block j takes the skip of the encoder block nearest to its
           relative depth
========== ==========================================================================================

A decoder block of ``ascend`` has an MLP of ratio 3 where the encoder's has 4: that pays for its skip map
(2 width^2 multiply-adds per token), so 6 + 2, 4 + 4 and 2 + 6 blocks of one width cost exactly the same.
"""

from __future__ import annotations

from typing import Annotated, Literal

import torch
from torch import Tensor, nn

from bench.models.embeddings import TimeEmbedding, label_table, resolve_labels, time_code
from bench.models.layers import Block, Mlp, SelfAttention, check_images, grid_of, unpatchify
from bench.models.options import Count, Dropout, Must, Number, Positive, Windows
from bench.models.registry import register_model
from bench.models.windows import parse_windows

Time = Literal["token", "token-mlp", "adaptive"]
Stem = Literal["patch", "overlapping"]
Halves = Annotated[int, Must("an even whole number", lambda depth: depth >= 0 and depth % 2 == 0)]
EPSILON = 1e-5


class SkipBlock(Block):
    """A block that first maps tokens and those of a skip, joined on the channel axis, back to its width."""

    def __init__(
        self, width: int, attention: nn.Module, mlp: nn.Module, skip_width: int, condition: int
    ) -> None:
        super().__init__(width, attention, mlp, EPSILON, condition)
        self.fuse = nn.Linear(width + skip_width, width)

    def forward(self, x: Tensor, condition: Tensor | None, skip: Tensor | None = None) -> Tensor:
        return super().forward(self.fuse(torch.cat([x, skip], dim=-1)), condition)


@register_model("ascend")
class ViT(nn.Module):
    """Noise predictor: x (B, C, H, W), t (B,) int64, y (B,) int64 or None, to (B, C, H, W).

    ``encoder`` and ``decoder`` count blocks, ``middle`` is one between them; ``decoder_width`` is ``width`` unless
    given, and a linear map joins different widths. ``time``: the code as a token (``token``), through an MLP first
    (``token-mlp``), or as shift and scale of every LayerNorm (``adaptive``, where a class joins it). ``stem``: each
    token sees its patch, or, with ``overlapping``, also the border of its neighbours (kernel of the next odd size;
    3x3 for patch 1 and 2). ``windows`` in tokens as in `bench.models.windows.parse_windows`, for the blocks in the
    order in which they act; ``label_dropout`` above 0 adds a null label, which ``y=None`` selects.
    Raises ValueError for values that do not go together.
    """

    def __init__(
        self,
        image_size: int,
        channels: int,
        *,
        encoder: Number,
        decoder: Number,
        width: Count,
        heads: Count,
        decoder_width: Count | None = None,
        patch: Count = 2,
        mlp_ratio: Positive = 4.0,
        decoder_mlp_ratio: Positive = 3.0,
        middle: bool = False,
        skips: bool = True,
        stem: Stem = "patch",
        time: Time = "token",
        output_conv: bool = True,
        qkv_bias: bool = False,
        num_classes: Number = 0,
        label_dropout: Dropout = 0.0,
        windows: Windows = None,
    ) -> None:
        super().__init__()
        if encoder + middle + decoder < 1:
            raise ValueError("a network needs at least one block.")
        if skips and decoder and not encoder:
            raise ValueError("skips need an encoder of at least one block.")
        self.channels, self.side, self.patch, self.width = channels, image_size, patch, width
        self.num_classes, self.label_dropout = num_classes, label_dropout
        self.grid = grid_of(image_size, patch)
        self.adaptive, self.skips = time == "adaptive", skips
        self.extra = 0 if self.adaptive else 1 + (num_classes > 0)  # tokens before those of the patches
        # each decoder block takes the skip of the encoder block nearest in relative depth
        self.kept = [(2 * place + 1) * encoder // (2 * decoder) for place in reversed(range(decoder))]
        last = (decoder_width or width) if decoder else width
        kernel = patch + (1 + patch % 2 if stem == "overlapping" else 0)
        self.stem = nn.Conv2d(channels, width, kernel, patch, (kernel - patch + 1) // 2)
        self.positions = nn.Parameter(torch.empty(1, self.extra + self.grid[0] * self.grid[1], width))
        self.time = None if time == "token" else TimeEmbedding(width, width, 4 * width)
        self.labels = label_table(num_classes, label_dropout, width)
        all_windows = iter(parse_windows(windows, encoder + middle + decoder, self.grid[0]))

        def block(inner: int, ratio: float, skip_width: int = 0) -> Block:
            attention = SelfAttention(inner, heads, self.grid, next(all_windows), self.extra, qkv_bias)
            mlp, condition = Mlp(inner, ratio, gelu="none"), width if self.adaptive else 0
            if skip_width:
                return SkipBlock(inner, attention, mlp, skip_width, condition)
            return Block(inner, attention, mlp, EPSILON, condition)

        self.encoder = nn.ModuleList(block(width, mlp_ratio) for _ in range(encoder))
        self.middle = block(width, mlp_ratio) if middle else None
        self.bridge = nn.Linear(width, last) if last != width else None
        self.decoder = nn.ModuleList(
            block(last, decoder_mlp_ratio, width if skips else 0) for _ in range(decoder)
        )
        self.norm = nn.LayerNorm(last)
        self.out = nn.Linear(last, patch**2 * channels)
        self.output_conv = nn.Conv2d(channels, channels, 3, padding=1) if output_conv else None
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
        """Return the tokens (B, 1, width) that precede the patches, and the condition vector, if any."""
        time = time_code(t, self.width) if self.time is None else self.time(t)
        parts = [time.to(self.positions.dtype)]
        if self.labels is not None:
            y = resolve_labels(y, t, self.num_classes, self.label_dropout, self.training)
            parts.insert(0, self.labels(y))
        if self.adaptive:
            return [], sum(parts)
        return [part[:, None] for part in parts], None

    def forward(self, x: Tensor, t: Tensor, y: Tensor | None = None) -> Tensor:
        check_images(x, self.channels, self.side)
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
        for block, source in zip(self.decoder, self.kept, strict=True):
            tokens = block(tokens, condition, *([kept[source]] if self.skips else []))
        image = unpatchify(self.out(self.norm(tokens[:, self.extra :])), self.grid, self.patch)
        return image if self.output_conv is None else self.output_conv(image)


@register_model("vit")
def vit(
    image_size: int,
    channels: int,
    *,
    depth: Count,
    width: Count,
    heads: Count,
    patch: Count = 2,
    mlp_ratio: Positive = 4.0,
    qkv_bias: bool = False,
    num_classes: Number = 0,
    label_dropout: Dropout = 0.0,
    windows: Windows = None,
) -> ViT:
    """Build a plain ViT of ``depth`` blocks; time and class are tokens. Options and errors as in `ViT`."""
    return ViT(
        image_size, channels, encoder=depth, decoder=0, width=width, heads=heads, patch=patch, mlp_ratio=mlp_ratio,
        skips=False, output_conv=False, qkv_bias=qkv_bias, num_classes=num_classes, label_dropout=label_dropout,
        windows=windows,
    )  # fmt: skip


@register_model("u-vit")
@register_model("iu-vit")
def u_vit(
    image_size: int,
    channels: int,
    *,
    depth: Halves,
    width: Count,
    heads: Count,
    patch: Count = 2,
    mlp_ratio: Positive = 4.0,
    skips: bool = True,
    stem: Stem = "patch",
    time: Time = "token",
    output_conv: bool = True,
    qkv_bias: bool = False,
    num_classes: Number = 0,
    label_dropout: Dropout = 0.0,
    windows: Windows = None,
) -> ViT:
    """Build a U-ViT: ``depth`` counts both halves, the middle block comes on top. Options and errors as in `ViT`."""
    return ViT(
        image_size, channels, encoder=depth // 2, decoder=depth // 2, middle=True, width=width, heads=heads,
        patch=patch, mlp_ratio=mlp_ratio, decoder_mlp_ratio=mlp_ratio, skips=skips, stem=stem, time=time,
        output_conv=output_conv, qkv_bias=qkv_bias, num_classes=num_classes, label_dropout=label_dropout,
        windows=windows,
    )  # fmt: skip

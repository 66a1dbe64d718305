"""U-DiT (Tian et al., arXiv 2405.02730): a diffusion transformer in the shape of a UNet.

Three scales of widths c, 2c and 4c hold transformer blocks with adaLN-Zero conditioning; there are no patches. The
paper's additions to that plain shape, in the order of its ablation, are one switch each:

================== ====================================================================================
``downsample``     the pixels are parted by the parity of row and column into four sub-grids, and attention
                   runs inside each: no token is lost, and the products cost a quarter (after a depthwise
                   convolution that mixes the four, with an identity in parallel: ``shortcut``)
``cosine``         queries and keys of unit length, times a learned factor per head (at most 100)
``rotary``         queries and keys turned by their place, columns and rows in turn
``depthwise``      a depthwise 5x5 convolution inside the MLP
``reparametrised`` each linear map of that MLP as two in a row, its convolution as 5x5 + 3x3 + 1x1 + identity
================== ====================================================================================

The last switch only changes how the network is trained: `UDiT.to_inference` folds it away. The ordinary MLP without
``depthwise`` has the tanh form of GELU, the others the exact one, as in the released code. A dropped label is drawn
once per image and shared by the three scales.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from typing import Annotated

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bench.models.attention import AttentionCore
from bench.models.embeddings import TimeEmbedding, label_table, resolve_labels
from bench.models.layers import Block, Grid, Mlp, check_images, hidden_width, modulate
from bench.models.options import Count, Dropout, Must, Number, Odd, Positive
from bench.models.registry import register_model

TIME_CODE_WIDTH = 256
EPSILON = 1e-6
FIRST_FACTOR = math.log(10)  # logarithm of cosine attention's factor
LARGEST_FACTOR = 4.6052  # log 100 as the reference rounds it
TINY = 1e-24  # of a squared length, below which it is not divided by
SIDES = (5, 3, 1)  # of the parallel depthwise kernels
Depths = Annotated[
    Sequence[Count], Must("five counts of blocks, each at least 1", lambda depths: len(depths) == 5)
]


def as_image(tokens: Tensor, grid: Grid) -> Tensor:
    """Return tokens (B, rows * columns, width) as (B, width, rows, columns), without a copy."""
    return tokens.transpose(1, 2).unflatten(2, grid)


def as_tokens(image: Tensor) -> Tensor:
    """Return an image (B, width, rows, columns) as tokens (B, rows * columns, width)."""
    return image.flatten(2).transpose(1, 2)


class Depthwise(nn.Module):
    """Depthwise convolutions of odd ``sides``, the largest first, and perhaps the identity, on tokens of a grid.

    Their sum is one convolution with one kernel: adding up the weights is cheaper than adding up the outputs.
    Tokens (B, rows * columns, width) to the same shape.
    """

    def __init__(self, width: int, sides: Sequence[int], identity: bool, grid: Grid) -> None:
        super().__init__()
        self.kernels = nn.ModuleList(
            nn.Conv2d(width, width, side, padding=side // 2, groups=width) for side in sides
        )
        self.identity, self.grid = identity, grid

    def sum(self) -> tuple[Tensor, Tensor]:
        """Return weight (width, 1, side, side) and bias (width,) of the sum."""
        half = self.kernels[0].padding[0]
        weights = [F.pad(k.weight, (half - k.padding[0],) * 4) for k in self.kernels]
        if self.identity:
            weights.append(F.pad(torch.ones_like(weights[0][:, :, :1, :1]), (half,) * 4))
        return sum(weights), sum(kernel.bias for kernel in self.kernels)

    def forward(self, x: Tensor) -> Tensor:
        weight, bias = self.sum()
        image = as_image(x, self.grid)
        return as_tokens(F.conv2d(image, weight, bias, padding=weight.shape[-1] // 2, groups=len(weight)))

    @torch.no_grad()
    def fold(self) -> None:
        """Keep the sum alone."""
        self.kernels[0].weight.data, self.kernels[0].bias.data = self.sum()
        self.kernels, self.identity = self.kernels[:1], False


def rotation(places: Tensor, head_width: int) -> Tensor:
    """Return cosines and signed sines (2, T, 1, 1, head_width) that turn the channels of tokens at ``places`` (T, 2).

    Pairs of channels are turned by the column, the row, the column ... of the place; two successive pairs share
    the frequency 10000^(-4 j / head_width).
    """
    frequencies = 10_000.0 ** (-4 * torch.arange(head_width // 4, dtype=torch.float64) / head_width)
    angles = (places.flip(-1)[:, None] * frequencies[:, None]).flatten(1).repeat_interleave(2, dim=1)
    signs = torch.tensor([-1.0, 1.0]).repeat(head_width // 2)
    return torch.stack([angles.cos(), angles.sin() * signs]).float()[:, :, None, None]


def rotate(x: Tensor, turn: Tensor) -> Tensor:
    """Turn the channel pairs of x (B, T, 2, heads, head width) by ``turn`` of `rotation`."""
    swapped = x.unflatten(-1, (-1, 2)).flip(-1).flatten(-2)
    return torch.addcmul(x * turn[0], swapped, turn[1])


def sub_grids(grid: Grid, stride: int) -> list[tuple[Grid, Tensor]]:
    """Return (rows and columns, indices of the tokens) of each sub-grid of every ``stride``-th token.

    Those that a side of 1 leaves empty are left out.
    """
    tokens = torch.arange(grid[0] * grid[1]).view(grid)
    parts = [tokens[r::stride, c::stride] for r in range(stride) for c in range(stride)]
    return [(tuple(part.shape), part.flatten()) for part in parts if part.numel()]


class Attention(nn.Module):
    """Self-attention of tokens (B, rows * columns, width), inside sub-grids of one parity with ``downsample``.

    The four sub-grids are on the head axis of one core, sub-grid by sub-grid, so that maps are
    (B, 4 * heads, T / 4, T / 4). Where a side is odd they differ in shape and have a core each.
    """

    def __init__(
        self,
        width: int,
        heads: int,
        grid: Grid,
        *,
        downsample: bool,
        shortcut: bool,
        kernel: int,
        cosine: bool,
        rotary: bool,
    ) -> None:
        super().__init__()
        self.heads, stride = heads, 2 if downsample else 1
        self.mix = Depthwise(width, (kernel,), shortcut, grid) if downsample else None
        self.qkv = nn.Linear(width, 3 * width)
        self.factor = nn.Parameter(torch.full((heads,), FIRST_FACTOR)) if cosine else None
        parts = sub_grids(grid, stride)
        order = torch.cat([tokens for _, tokens in parts])  # the tokens, sub-grid by sub-grid
        self.register_buffer("order", order, persistent=False)
        self.register_buffer("back", order.argsort(), persistent=False)
        places = torch.stack([order // grid[1], order % grid[1]], dim=1) // stride  # in the sub-grid
        self.register_buffer("turn", rotation(places, width // heads) if rotary else None, persistent=False)
        self.shared = len({shape for shape, _ in parts}) == 1  # equal sub-grids: one call for all
        self.parts = len(parts) if self.shared else 1  # sub-grids on the head axis
        self.cores = nn.ModuleList(
            AttentionCore(shape, scale=1.0 if cosine else None)
            for shape, _ in (parts[:1] if self.shared else parts)
        )
        self.out = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        if self.mix is not None:
            x = self.mix(x)[:, self.order]
        qk, v = self.qkv(x).unflatten(-1, (3, self.heads, -1)).split((2, 1), dim=2)
        if self.turn is not None:
            qk = rotate(qk, self.turn)
        if self.factor is not None:
            factor = self.factor.clamp(max=LARGEST_FACTOR).exp()
            lengths = torch.stack([factor, torch.ones_like(factor)])[..., None]
            qk = qk * (lengths * qk.square().sum(-1, keepdim=True).clamp_min(TINY).rsqrt())
        parts = [*qk.to(v.dtype).unbind(2), v.squeeze(2)]
        sizes = [self.parts * core.grid[0] * core.grid[1] for core in self.cores]
        pieces = zip(*(part.split(sizes, dim=1) for part in parts), strict=True)
        found = [self._attend(core, *piece) for core, piece in zip(self.cores, pieces, strict=True)]
        out = self.out(torch.cat(found, dim=1))
        return out if self.mix is None else out[:, self.back]

    def _attend(self, core: AttentionCore, *parts: Tensor) -> Tensor:
        """Return the output (B, tokens, width) of q, k, v (B, tokens, heads, head width) inside each sub-grid."""
        split = [part.unflatten(1, (self.parts, -1)).transpose(2, 3).flatten(1, 2) for part in parts]
        return core(*split).unflatten(1, (self.parts, -1)).transpose(2, 3).flatten(1, 2).flatten(2)


@torch.no_grad()
def folded_linear(pair: nn.Sequential) -> nn.Linear:
    """Return one linear map with the output of two in a row."""
    first, second = pair
    one = nn.Linear(first.in_features, second.out_features, device=first.weight.device)
    one.to(first.weight.dtype)
    one.weight.copy_(second.weight @ first.weight)
    one.bias.copy_(second.weight @ first.bias + second.bias)
    return one


class DepthwiseMlp(nn.Module):
    """Linear, exact GELU, depthwise convolution on the grid, linear; tokens (B, rows * columns, width)."""

    def __init__(self, width: int, ratio: float, grid: Grid, reparametrised: bool) -> None:
        super().__init__()
        hidden = hidden_width(width, ratio)
        self.reparametrised = reparametrised
        self.mix = Depthwise(hidden, SIDES if reparametrised else SIDES[:1], reparametrised, grid)
        if reparametrised:
            half = hidden // 2
            self.first = nn.Sequential(nn.Linear(width, half), nn.Linear(half, hidden))
            self.second = nn.Sequential(nn.Linear(hidden, half), nn.Linear(half, width))
        else:
            self.first, self.second = nn.Linear(width, hidden), nn.Linear(hidden, width)

    def forward(self, x: Tensor) -> Tensor:
        return self.second(self.mix(F.gelu(self.first(x))))

    def fold(self) -> None:
        """Replace parallel and successive maps, if it has them, by one each."""
        self.mix.fold()
        if self.reparametrised:
            self.first, self.second = folded_linear(self.first), folded_linear(self.second)
            self.reparametrised = False


class Condition(nn.Module):
    """Time and class as one vector (B, width)."""

    def __init__(self, width: int, num_classes: int, label_dropout: float) -> None:
        super().__init__()
        self.time = TimeEmbedding(TIME_CODE_WIDTH, width)
        self.label = label_table(num_classes, label_dropout, width)

    def forward(self, t: Tensor, y: Tensor | None) -> Tensor:
        return self.time(t) if self.label is None else self.time(t) + self.label(y)


def down(width: int) -> nn.Sequential:
    """Half the side, twice the channels: 3x3 convolution to half the channels, then 2x2 pixels to channels."""
    return nn.Sequential(nn.Conv2d(width, width // 2, 3, padding=1, bias=False), nn.PixelUnshuffle(2))


def up(width: int) -> nn.Sequential:
    """Twice the side, half the channels: 3x3 convolution to twice the channels, then channels to 2x2 pixels."""
    return nn.Sequential(nn.Conv2d(width, 2 * width, 3, padding=1, bias=False), nn.PixelShuffle(2))


@register_model("u-dit")
class UDiT(nn.Module):
    """Noise predictor: x (B, C, H, W), t (B,) int64, y (B,) int64 or None, to (B, C, H, W).

    ``width`` is c; ``heads`` is the same at all scales; ``depths`` counts the blocks of encoder 1 and 2, the
    bottleneck, decoder 2 and 1, each of two attention-MLP pairs; ``kernel`` is the side of the convolution before the
    sub-grids; the switches are explained at the top of the file. Raises ValueError for values that do not go together.
    """

    def __init__(
        self,
        image_size: int,
        channels: int,
        *,
        width: Count,
        heads: Count,
        depths: Depths,
        mlp_ratio: Positive = 2.0,
        kernel: Odd = 5,
        downsample: bool = True,
        shortcut: bool = True,
        cosine: bool = True,
        rotary: bool = True,
        depthwise: bool = True,
        reparametrised: bool = True,
        learned_sigma: bool = False,
        num_classes: Number = 0,
        label_dropout: Dropout = 0.0,
    ) -> None:
        super().__init__()
        if image_size % 4:
            raise ValueError(f"three scales need a side that is a multiple of 4, not {image_size}.")
        if width % 2 or width % heads:
            raise ValueError(f"width must be even and a multiple of heads, not {width} for {heads} heads.")
        if rotary and width // heads % 4:
            raise ValueError(f"rotary needs a head width that is a multiple of 4, not {width // heads}.")
        if reparametrised and not depthwise:
            raise ValueError("reparametrised needs depthwise: it says how that MLP is trained.")
        self.channels, self.side = channels, image_size
        self.learned_sigma, self.num_classes, self.label_dropout = learned_sigma, num_classes, label_dropout

        def block(inner: int, side: int) -> Block:
            attention = Attention(
                inner, heads, (side, side), downsample=downsample, shortcut=shortcut, kernel=kernel, cosine=cosine,
                rotary=rotary,
            )  # fmt: skip
            mlp = (
                DepthwiseMlp(inner, mlp_ratio, (side, side), reparametrised)
                if depthwise
                else Mlp(inner, mlp_ratio)
            )
            return Block(inner, attention, mlp, EPSILON, inner, gates=True)

        # (width, scale, condition): the last decoder level keeps the joined width 2c, and the condition of 2c
        levels = [(1, 0, 0), (2, 1, 1), (4, 2, 2), (2, 1, 1), (2, 0, 1)]
        self.of_level = [condition for _, _, condition in levels]
        self.conditions = nn.ModuleList(
            Condition(factor * width, num_classes, label_dropout) for factor in (1, 2, 4)
        )
        self.stem = nn.Conv2d(channels, width, 3, padding=1)
        self.levels = nn.ModuleList(
            # one listed block holds two pairs of attention and MLP
            nn.ModuleList(block(factor * width, image_size // 2**scale) for _ in range(2 * depth))
            for depth, (factor, scale, _) in zip(depths, levels, strict=True)
        )
        self.down = nn.ModuleList([down(width), down(2 * width)])
        self.up = nn.ModuleList([up(4 * width), up(2 * width)])
        self.join = nn.ModuleList([nn.Conv2d(4 * width, 2 * width, 1), nn.Conv2d(2 * width, 2 * width, 1)])
        self.tail = nn.Conv2d(2 * width, 2 * width, 3, padding=1)
        self.norm = nn.LayerNorm(2 * width, eps=EPSILON, elementwise_affine=False)
        self.modulation = nn.Linear(2 * width, 4 * width)
        self.head = nn.Conv2d(2 * width, channels * (1 + learned_sigma), 3, padding=1)
        self._initialise()

    def _initialise(self) -> None:
        """Xavier-uniform maps and kernels, zero biases, normal (0.02) embeddings, zero modulation and output."""
        for module in self.modules():
            if isinstance(module, (nn.Linear, nn.Conv2d)):
                nn.init.xavier_uniform_(module.weight)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
            elif isinstance(module, nn.Embedding):
                nn.init.normal_(module.weight, std=0.02)
        for condition in self.conditions:
            for linear in (condition.time.first, condition.time.second):
                nn.init.normal_(linear.weight, std=0.02)
        for module in self.modules():
            if isinstance(module, (Block, UDiT)):
                nn.init.zeros_(module.modulation.weight)  # type: ignore[union-attr]  # these blocks have one
        nn.init.zeros_(self.head.weight)

    def _level(self, index: int, x: Tensor, conditions: list[Tensor]) -> Tensor:
        tokens, grid = as_tokens(x), tuple(x.shape[2:])
        for block in self.levels[index]:
            tokens = block(tokens, conditions[self.of_level[index]])
        return as_image(tokens, grid)

    def raw(self, x: Tensor, t: Tensor, y: Tensor | None = None) -> Tensor:
        """Return all output channels: the noise, then with learned variance its interpolation values."""
        check_images(x, self.channels, self.side)
        if self.num_classes:
            y = resolve_labels(y, t, self.num_classes, self.label_dropout, self.training)
        conditions = [condition(t, y) for condition in self.conditions]
        first = self._level(0, self.stem(x), conditions)
        second = self._level(1, self.down[0](first), conditions)
        x = self._level(2, self.down[1](second), conditions)
        for step, kept in enumerate((second, first)):
            x = self.join[step](torch.cat([self.up[step](x), kept], dim=1))
            x = self._level(3 + step, x, conditions)
        tokens = self.norm(as_tokens(self.tail(x)))
        vectors = self.modulation(F.silu(conditions[1])).chunk(2, dim=1)
        return self.head(as_image(modulate(tokens, *vectors), (self.side, self.side)))

    def forward(self, x: Tensor, t: Tensor, y: Tensor | None = None) -> Tensor:
        return self.raw(x, t, y)[:, : self.channels]

    def to_inference(self) -> UDiT:
        """Return a new network of equal outputs, in evaluation mode, without re-parametrised maps.

        This network is left as it is; without the switch the new one is a plain copy.
        """
        network = copy.deepcopy(self)
        for module in network.modules():
            if isinstance(module, DepthwiseMlp):
                module.fold()
        return network.eval()

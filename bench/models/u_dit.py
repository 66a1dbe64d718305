"""U-DiT (Tian et al., arXiv 2405.02730): a diffusion transformer in the shape of a UNet.

Three scales of widths c, 2c and 4c hold transformer blocks with adaLN-Zero conditioning; there are no patches. The
paper's additions to that plain shape, in the order of its ablation, are one switch each:

================== ====================================================================================
``downsample``     the pixels are parted by the parity of row and column into four sub-grids, and attention
                   runs inside each: no token is lost, and the products cost a quarter (after a depthwise
                   convolution, with the identity beside it, that mixes the four)
``cosine``         queries and keys of unit length, times a learned factor per head (at most 100)
``rotary``         queries and keys turned by their place, columns and rows in turn
``depthwise``      a depthwise 5x5 convolution inside the MLP
``reparametrised`` each linear map of that MLP as two in a row, its convolution as 5x5 + 3x3 + 1x1 + identity
================== ====================================================================================

The last switch only changes how the network is trained: `UDiT.to_inference` folds it away. A dropped label is
drawn once per image and shared by the three scales.
"""

from __future__ import annotations

import copy
import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bench.models.attention import AttentionCore
from bench.models.embeddings import TimeEmbedding, label_rows, resolve_labels
from bench.models.layers import Mlp, modulate
from bench.models.registry import register_model

TIME_CODE_WIDTH = 256
EPSILON = 1e-6
FIRST_FACTOR, LARGEST_FACTOR = (
    math.log(10),
    4.6052,
)  # log of cosine attention's factor; log 100 as the reference rounds it
SIDES = (5, 3, 1)  # of the parallel depthwise kernels
Grid = tuple[int, int]


def on_grid(layer: nn.Module, tokens: Tensor, grid: Grid) -> Tensor:
    """Apply a convolution that keeps the grid to tokens (B, rows * columns, width)."""
    return as_tokens(layer(as_image(tokens, grid)))


def as_image(tokens: Tensor, grid: Grid) -> Tensor:
    """Return tokens (B, rows * columns, width) as (B, width, rows, columns), without a copy."""
    return tokens.transpose(1, 2).unflatten(2, grid)


def as_tokens(image: Tensor) -> Tensor:
    """Return an image (B, width, rows, columns) as tokens (B, rows * columns, width)."""
    return image.flatten(2).transpose(1, 2)


def depthwise_conv(width: int, side: int) -> nn.Conv2d:
    """Return a convolution of odd ``side`` that keeps channels apart and the grid as it is."""
    return nn.Conv2d(width, width, side, padding=side // 2, groups=width)


def rotation(grid: Grid, stride: int, head_width: int) -> Tensor:
    """Return cosines and sines (2, rows, columns, 1, head_width / 2) of each place's rotation.

    Pairs of channels are turned by the column, the row, the column ... of the place, counted in its own
    sub-grid; two successive pairs share the frequency 10000^(-4 j / head_width).
    """
    frequencies = 10_000.0 ** (-4 * torch.arange(head_width // 4, dtype=torch.float64) / head_width)
    row, column = torch.meshgrid(*(torch.arange(n) // stride for n in grid), indexing="ij")
    angles = torch.stack([axis[..., None] * frequencies for axis in (column, row)], dim=-1).flatten(-2)
    return torch.stack([angles.cos(), angles.sin()]).float()[..., None, :]


def rotate(x: Tensor, turn: Tensor) -> Tensor:
    """Turn the channel pairs of x (B, rows, columns, heads, head width) by ``turn`` of `rotation`."""
    first, second = x.unflatten(-1, (-1, 2)).unbind(-1)
    cosine, sine = turn
    return torch.stack([first * cosine - second * sine, first * sine + second * cosine], dim=-1).flatten(-2)


class Attention(nn.Module):
    """Self-attention of tokens (B, rows * columns, width), inside sub-grids of one parity with ``downsample``.

    The four sub-grids stand on the head axis of the core, sub-grid by sub-grid, so that maps are
    (B, 4 * heads, T / 4, T / 4). Where a side is odd they differ in shape and have a core each.
    """

    def __init__(
        self, width: int, heads: int, grid: Grid, downsample: bool, kernel: int, cosine: bool, rotary: bool
    ) -> None:
        super().__init__()
        self.heads, self.grid, self.stride = heads, grid, 2 if downsample else 1
        self.mix = depthwise_conv(width, kernel) if downsample else None
        self.qkv = nn.Linear(width, 3 * width)
        self.factor = nn.Parameter(torch.full((heads,), FIRST_FACTOR)) if cosine else None
        turn = rotation(grid, self.stride, width // heads) if rotary else None
        self.register_buffer("turn", turn, persistent=False)
        self.parts = sub_grids(grid, self.stride)
        scale = 1.0 if cosine else None
        self.cores = nn.ModuleList(AttentionCore(shape, scale=scale) for shape, _ in self.parts)
        self.out = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        if self.mix is not None:
            x = x + on_grid(self.mix, x, self.grid)
        qkv = self.qkv(x).unflatten(1, self.grid).unflatten(-1, (3, self.heads, -1))
        q, k, v = qkv.unbind(3)
        if self.turn is not None:
            q, k = rotate(q, self.turn), rotate(k, self.turn)
        if self.factor is not None:
            factor = self.factor.clamp(max=LARGEST_FACTOR).exp()[:, None]
            q, k = F.normalize(q, dim=-1) * factor, F.normalize(k, dim=-1)
        q, k = q.to(v.dtype), k.to(v.dtype)
        pieces: dict[Grid, Tensor] = {}
        for core, (shape, places) in zip(self.cores, self.parts, strict=True):
            out = core(*(self._split(part, places) for part in (q, k, v)))
            out = out.unflatten(1, (len(places), self.heads)).unflatten(3, shape)
            pieces.update(zip(places, out.permute(1, 0, 3, 4, 2, 5).flatten(-2), strict=True))
        return self.out(self._merge(pieces).flatten(1, 2))

    def _split(self, x: Tensor, places: list[Grid]) -> Tensor:
        """Return the sub-grids at ``places`` of x (B, rows, columns, heads, d), as (B, n * heads, tokens, d)."""
        parts = torch.stack([x[:, r :: self.stride, c :: self.stride] for r, c in places], dim=1)
        return parts.flatten(2, 3).transpose(2, 3).flatten(1, 2)

    def _merge(self, pieces: dict[Grid, Tensor]) -> Tensor:
        """Put sub-grids (B, rows', columns', width) by place together to (B, rows, columns, width)."""
        first = pieces[0, 0]
        if self.stride == 1:
            return first
        rows, columns = first.shape[1:3]
        empty = first[:, :0]
        full = [
            F.pad(piece, (0, 0, 0, columns - piece.shape[2], 0, rows - piece.shape[1]))
            for piece in (pieces.get((r, c), empty) for r in (0, 1) for c in (0, 1))
        ]
        woven = torch.stack(full, dim=1).unflatten(1, (2, 2)).permute(0, 3, 1, 4, 2, 5)
        return woven.flatten(3, 4).flatten(1, 2)[:, : self.grid[0], : self.grid[1]]


def sub_grids(grid: Grid, stride: int) -> list[tuple[Grid, list[Grid]]]:
    """Return (rows and columns, first places) of the sub-grids of every ``stride``-th token.

    Equal ones come together, so that one call serves them; those that a side of 1 leaves empty are left out.
    """
    if all(n % stride == 0 for n in grid):
        whole = (grid[0] // stride, grid[1] // stride)
        return [(whole, [(r, c) for r in range(stride) for c in range(stride)])]
    places = [(r, c) for r in range(min(stride, grid[0])) for c in range(min(stride, grid[1]))]
    return [((len(range(r, grid[0], stride)), len(range(c, grid[1], stride))), [(r, c)]) for r, c in places]


class ParallelDepthwise(nn.Module):
    """Identity + depthwise 5x5 + 3x3 + 1x1, (B, width, H, W)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.kernels = nn.ModuleList(depthwise_conv(width, side) for side in SIDES)

    def forward(self, x: Tensor) -> Tensor:
        return x + sum(kernel(x) for kernel in self.kernels)

    @torch.no_grad()
    def folded(self) -> nn.Conv2d:
        """Return one 5x5 convolution with the same output."""
        largest = self.kernels[0]
        one = copy.deepcopy(largest)
        one.weight[:, :, largest.padding[0], largest.padding[1]] += 1
        for kernel in self.kernels[1:]:
            margin = largest.padding[0] - kernel.padding[0]
            one.weight += F.pad(kernel.weight, (margin,) * 4)
            one.bias += kernel.bias
        return one


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

    def __init__(self, width: int, hidden: int, grid: Grid, reparametrised: bool) -> None:
        super().__init__()
        self.grid = grid
        if reparametrised:
            half = hidden // 2
            self.first = nn.Sequential(nn.Linear(width, half), nn.Linear(half, hidden))
            self.mix = ParallelDepthwise(hidden)
            self.second = nn.Sequential(nn.Linear(hidden, half), nn.Linear(half, width))
        else:
            self.first = nn.Linear(width, hidden)
            self.mix = depthwise_conv(hidden, SIDES[0])
            self.second = nn.Linear(hidden, width)

    def forward(self, x: Tensor) -> Tensor:
        return self.second(on_grid(self.mix, F.gelu(self.first(x)), self.grid))

    def fold(self) -> None:
        """Replace parallel and successive maps, if it has them, by one each."""
        if isinstance(self.mix, ParallelDepthwise):
            self.first, self.second = folded_linear(self.first), folded_linear(self.second)
            self.mix = self.mix.folded()


class Block(nn.Module):
    """Norm, attention, norm, MLP with shift, scale and gate from the condition; the gates start at zero."""

    def __init__(self, width: int, attention: nn.Module, mlp: nn.Module) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width, eps=EPSILON, elementwise_affine=False)
        self.attention, self.mlp = attention, mlp
        self.modulation = nn.Linear(width, 6 * width)

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        vectors = self.modulation(F.silu(condition)).chunk(6, dim=1)
        for branch, (shift, scale, gate) in ((self.attention, vectors[:3]), (self.mlp, vectors[3:])):
            x = x + gate[:, None] * branch(modulate(self.norm(x), shift, scale))
        return x


class Condition(nn.Module):
    """Time and class as one vector (B, width)."""

    def __init__(self, width: int, rows: int) -> None:
        super().__init__()
        self.time = TimeEmbedding(TIME_CODE_WIDTH, width)
        self.label = nn.Embedding(rows, width) if rows else None

    def forward(self, t: Tensor, y: Tensor | None) -> Tensor:
        return self.time(t) if self.label is None else self.time(t) + self.label(y)


def down(width: int) -> nn.Sequential:
    """Half the side, twice the channels: 3x3 convolution to half the channels, then 2x2 pixels to channels."""
    return nn.Sequential(nn.Conv2d(width, width // 2, 3, padding=1, bias=False), nn.PixelUnshuffle(2))


def up(width: int) -> nn.Sequential:
    """Twice the side, half the channels: 3x3 convolution to twice the channels, then channels to 2x2 pixels."""
    return nn.Sequential(nn.Conv2d(width, 2 * width, 3, padding=1, bias=False), nn.PixelShuffle(2))


class UDiT(nn.Module):
    """Noise predictor: x (B, C, H, W), t (B,) int64, y (B,) int64 or None, to (B, C, H, W). See `u_dit`."""

    def __init__(
        self,
        image_size: int,
        channels: int,
        width: int,
        depths: list[int],
        learned_sigma: bool,
        num_classes: int,
        label_dropout: float,
        block,
    ) -> None:
        super().__init__()
        self.shape = (channels, image_size, image_size)
        self.learned_sigma, self.num_classes, self.label_dropout = learned_sigma, num_classes, label_dropout
        rows = label_rows(num_classes, label_dropout) if num_classes else 0
        # (width, scale, condition): the last decoder level keeps the joined width 2c, and the condition of 2c
        levels = [(1, 0, 0), (2, 1, 1), (4, 2, 2), (2, 1, 1), (2, 0, 1)]
        self.of_level = [condition for _, _, condition in levels]
        self.conditions = nn.ModuleList(Condition(factor * width, rows) for factor in (1, 2, 4))
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
                nn.init.zeros_(module.modulation.weight)
        nn.init.zeros_(self.head.weight)

    def _level(self, index: int, x: Tensor, conditions: list[Tensor]) -> Tensor:
        tokens, grid = as_tokens(x), tuple(x.shape[2:])
        for block in self.levels[index]:
            tokens = block(tokens, conditions[self.of_level[index]])
        return as_image(tokens, grid)

    def raw(self, x: Tensor, t: Tensor, y: Tensor | None = None) -> Tensor:
        """Return all output channels: the noise, then with learned variance its interpolation values."""
        if tuple(x.shape[1:]) != self.shape:
            raise ValueError(
                f"this U-DiT was built for images of shape {self.shape}, not {tuple(x.shape[1:])}."
            )
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
        return self.head(as_image(modulate(tokens, *vectors), self.shape[1:]))

    def forward(self, x: Tensor, t: Tensor, y: Tensor | None = None) -> Tensor:
        return self.raw(x, t, y)[:, : self.shape[0]]

    def to_inference(self) -> UDiT:
        """Return a new network of equal outputs, in evaluation mode, without re-parametrised maps.

        This network is left as it is; without the switch the new one is a plain copy.
        """
        network = copy.deepcopy(self)
        for module in network.modules():
            if isinstance(module, DepthwiseMlp):
                module.fold()
        return network.eval()


@register_model("u-dit")
def u_dit(
    image_size: int,
    channels: int,
    *,
    width: int,
    heads: int,
    depths: list[int],
    mlp_ratio: float = 2.0,
    kernel: int = 5,
    downsample: bool = True,
    cosine: bool = True,
    rotary: bool = True,
    depthwise: bool = True,
    reparametrised: bool = True,
    learned_sigma: bool = False,
    num_classes: int = 0,
    label_dropout: float = 0.0,
) -> UDiT:
    """Build a U-DiT; the five switches are explained at the top of the file.

    ``width`` is c; ``heads`` is the same at all scales; ``depths`` counts the blocks of encoder 1 and 2, the
    bottleneck, decoder 2 and 1, each of two attention-MLP pairs; ``kernel`` (odd) is the side of the convolution
    before the sub-grids. Raises ValueError for values that do not go together.
    """
    if image_size % 4:
        raise ValueError(f"three scales need a side that is a multiple of 4, not {image_size}.")
    if len(depths) != 5 or min(depths) < 1:
        raise ValueError(f"depths must be five counts of blocks, each at least 1, not {depths}.")
    if width < 2 or width % 2 or heads < 1 or width % heads:
        raise ValueError(f"width must be even and a multiple of heads, not {width} for {heads} heads.")
    if rotary and width // heads % 4:
        raise ValueError(f"rotary needs heads of a multiple of 4 channels, not {width // heads}.")
    if kernel < 1 or kernel % 2 == 0:
        raise ValueError(f"kernel must be odd and positive, not {kernel}.")
    if reparametrised and not depthwise:
        raise ValueError("reparametrised needs depthwise: it says how that MLP is trained.")
    if not 0 <= label_dropout < 1 or num_classes < 0 or (label_dropout > 0 and num_classes == 0):
        raise ValueError("label_dropout must lie in [0, 1), and needs num_classes of at least 1.")

    def block(inner: int, side: int) -> Block:
        hidden, grid = int(mlp_ratio * inner), (side, side)
        attention = Attention(inner, heads, grid, downsample, kernel, cosine, rotary)
        if depthwise:
            return Block(inner, attention, DepthwiseMlp(inner, hidden, grid, reparametrised))
        return Block(inner, attention, Mlp(inner, hidden, gelu="none"))

    return UDiT(image_size, channels, width, depths, learned_sigma, num_classes, label_dropout, block)

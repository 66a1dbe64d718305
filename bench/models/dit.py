"""DiT (Peebles and Xie, arXiv 2212.09748) with its four block designs and attention windows per layer.

An image is cut into patches, each a token with a fixed sine-cosine position; blocks of attention and MLP
follow; a linear map returns each token to its patch. Time (and class) condition the blocks in one of four
ways:

=================== ===================================================================================
``in-context``      time and class are two extra tokens; plain blocks
``cross-attention`` plain blocks with a cross-attention to (time, class) between self-attention and MLP
``adaln``           shift and scale after each LayerNorm, regressed from SiLU(time + class)
``adaln-zero``      as ``adaln``, and a gate before each residual sum, starting at zero (the published one)
=================== ===================================================================================

Only ``adaln-zero`` was released; the other three follow the paper's text and reproduce its parameter and
multiply-add counts. Windows are those of An et al. 2024 (``bench.models.windows``).
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import silu

from bench.models.attention import AttentionCore
from bench.models.embeddings import TimeEmbedding, label_table, position_table, resolve_labels
from bench.models.layers import Block, Mlp, SelfAttention, check_images, grid_of, modulate, unpatchify
from bench.models.options import Count, Dropout, Number, Positive, Windows
from bench.models.registry import register_model
from bench.models.windows import parse_windows

BlockName = Literal["in-context", "cross-attention", "adaln", "adaln-zero"]
TIME_CODE_WIDTH = 256
EPSILON = 1e-6


class CrossAttention(nn.Module):
    """Attention of tokens (B, T, width) to a condition sequence (B, n, width)."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(width, width)
        self.key_value = nn.Linear(width, 2 * width)
        self.core = AttentionCore(grid=None)
        self.out = nn.Linear(width, width)

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        q = self.query(x).unflatten(-1, (self.heads, -1))
        k, v = self.key_value(condition).unflatten(-1, (2, self.heads, -1)).unbind(2)
        out = self.core(*(part.transpose(1, 2) for part in (q, k, v)))
        return self.out(out.transpose(1, 2).flatten(2))


class CrossBlock(Block):
    """A block without modulation, with a cross-attention between its attention and its MLP."""

    def __init__(self, width: int, heads: int, attention: nn.Module, mlp: nn.Module) -> None:
        super().__init__(width, attention, mlp, EPSILON)
        self.cross_norm = nn.LayerNorm(width, EPSILON)
        self.cross = CrossAttention(width, heads)

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        x = x + self.attention(self.attention_norm(x))
        x = x + self.cross(self.cross_norm(x), condition)
        return x + self.mlp(self.mlp_norm(x))


class Head(nn.Module):
    """Final LayerNorm (adaptive or affine) and linear map of each token to its patch."""

    def __init__(self, width: int, outputs: int, adaptive: bool) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width, EPSILON, elementwise_affine=not adaptive)
        self.modulation = nn.Linear(width, 2 * width) if adaptive else None
        self.out = nn.Linear(width, outputs)

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        x = self.norm(x)
        if self.modulation is not None:
            x = modulate(x, *self.modulation(silu(condition)).chunk(2, dim=1))
        return self.out(x)


@register_model("dit")
class DiT(nn.Module):
    """Noise predictor for pixels or latents: x (B, C, H, W), t (B,) int64, y (B,) int64 or None, to (B, C, H, W).

    ``width`` must be a multiple of 4 and of ``heads``; ``patch`` must divide the image side; ``windows`` in
    tokens as in `bench.models.windows.parse_windows`; ``label_dropout`` above 0 adds a null label, which
    ``y=None`` selects. Raises ValueError for values that do not go together.
    """

    def __init__(
        self,
        image_size: int,
        channels: int,
        *,
        depth: Count,
        width: Count,
        heads: Count,
        patch: Count = 1,
        mlp_ratio: Positive = 4.0,
        block: BlockName = "adaln-zero",
        learned_sigma: bool = False,
        num_classes: Number = 0,
        label_dropout: Dropout = 0.0,
        windows: Windows = None,
    ) -> None:
        super().__init__()
        self.channels, self.side, self.patch, self.block = channels, image_size, patch, block
        self.learned_sigma, self.num_classes, self.label_dropout = learned_sigma, num_classes, label_dropout
        self.grid = grid_of(image_size, patch)
        self.adaptive = block in ("adaln", "adaln-zero")
        self.patches = nn.Conv2d(channels, width, patch, stride=patch)
        self.register_buffer("positions", position_table(self.grid, width), persistent=False)
        self.time = TimeEmbedding(TIME_CODE_WIDTH, width)
        self.labels = label_table(num_classes, label_dropout, width)
        if self.labels is None and not self.adaptive:
            # The sequence designs always see two conditions: without classes, a learned vector and the time
            # (cross-attention to the time alone could not depend on its query).
            self.labels = nn.Embedding(1, width)
        self.extra = 2 if block == "in-context" else 0
        self.blocks = nn.ModuleList(
            self._block(width, heads, mlp_ratio, window)
            for window in parse_windows(windows, depth, self.grid[0])
        )
        self.head = Head(width, patch**2 * channels * (1 + learned_sigma), self.adaptive)
        self._initialise()

    def _block(self, width: int, heads: int, mlp_ratio: float, window: int | None) -> Block:
        parts = SelfAttention(width, heads, self.grid, window, self.extra), Mlp(width, mlp_ratio)
        if self.block == "cross-attention":
            return CrossBlock(width, heads, *parts)
        condition = width if self.adaptive else 0
        return Block(width, *parts, EPSILON, condition, gates=self.block == "adaln-zero")

    def _initialise(self) -> None:
        """Xavier-uniform maps, zero biases, normal (0.02) embeddings, zero modulation and output."""
        for module in self.modules():
            if isinstance(module, (nn.Linear, nn.Conv2d)):
                nn.init.xavier_uniform_(module.weight.view(len(module.weight), -1))
                nn.init.zeros_(module.bias)
            elif isinstance(module, nn.Embedding):
                nn.init.normal_(module.weight, std=0.02)
        for linear in (self.time.first, self.time.second):
            nn.init.normal_(linear.weight, std=0.02)
        for module in self.modules():
            if isinstance(module, (Block, Head)) and module.modulation is not None:
                nn.init.zeros_(module.modulation.weight)
        nn.init.zeros_(self.head.out.weight)

    def _condition(self, t: Tensor, y: Tensor | None) -> Tensor:
        """Return the condition: a vector (B, width) for adaptive blocks, else a sequence (B, 2, width)."""
        parts = [self.time(t)]
        if self.labels is not None:
            y = resolve_labels(
                y if self.num_classes else None, t, self.num_classes, self.label_dropout, self.training
            )
            parts.append(self.labels(y))
        return sum(parts) if self.adaptive else torch.stack(parts, dim=1)

    def raw(self, x: Tensor, t: Tensor, y: Tensor | None = None) -> Tensor:
        """Return all output channels: the noise, then with learned variance its interpolation values."""
        check_images(x, self.channels, self.side)
        tokens = self.patches(x).flatten(2).transpose(1, 2) + self.positions
        condition = self._condition(t, y)
        if self.extra:  # tokens without a position: their order makes no difference
            tokens = torch.cat([condition.to(tokens.dtype), tokens], dim=1)
        for block in self.blocks:
            tokens = block(tokens, condition)
        return unpatchify(self.head(tokens[:, self.extra :], condition), self.grid, self.patch)

    def forward(self, x: Tensor, t: Tensor, y: Tensor | None = None) -> Tensor:
        return self.raw(x, t, y)[:, : self.channels]

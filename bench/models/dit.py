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

from bench.models.attention import AttentionCore
from bench.models.embeddings import TimeEmbedding, label_rows, position_table, resolve_labels
from bench.models.layers import Mlp, SelfAttention, grid_of, modulate, unpatchify
from bench.models.registry import register_model
from bench.models.windows import parse_windows

BlockName = Literal["in-context", "cross-attention", "adaln", "adaln-zero"]
TIME_CODE_WIDTH = 256
EPSILON = 1e-6


def _norm(width: int, affine: bool) -> nn.LayerNorm:
    return nn.LayerNorm(width, eps=EPSILON, elementwise_affine=affine)


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
        batch, tokens, width = x.shape
        q = self.query(x).view(batch, tokens, self.heads, -1).transpose(1, 2)
        kv = self.key_value(condition).view(batch, condition.shape[1], 2, self.heads, -1)
        k, v = kv.permute(2, 0, 3, 1, 4)
        return self.out(self.core(q, k, v).transpose(1, 2).reshape(batch, tokens, width))


class PlainBlock(nn.Module):
    """LayerNorm + attention, (LayerNorm + cross-attention,) LayerNorm + MLP; affine norms, no modulation."""

    def __init__(self, attention: SelfAttention, width: int, heads: int, hidden: int, cross: bool) -> None:
        super().__init__()
        self.attention_norm = _norm(width, affine=True)
        self.attention = attention
        self.cross_norm = _norm(width, affine=True) if cross else None
        self.cross = CrossAttention(width, heads) if cross else None
        self.mlp_norm = _norm(width, affine=True)
        self.mlp = Mlp(width, hidden)

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        x = x + self.attention(self.attention_norm(x))
        if self.cross is not None:
            x = x + self.cross(self.cross_norm(x), condition)
        return x + self.mlp(self.mlp_norm(x))


class AdaptiveBlock(nn.Module):
    """Block whose norms are shifted and scaled (and with ``gated``, branches gated) by the condition.

    The regressed vector is cut into shift, scale(, gate) of the attention, then of the MLP.
    """

    def __init__(self, attention: SelfAttention, width: int, hidden: int, gated: bool) -> None:
        super().__init__()
        self.gated = gated
        self.attention_norm = _norm(width, affine=False)
        self.attention = attention
        self.mlp_norm = _norm(width, affine=False)
        self.mlp = Mlp(width, hidden)
        self.modulation = nn.Linear(width, (6 if gated else 4) * width)

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        per_branch = self.modulation(nn.functional.silu(condition)).chunk(2, dim=1)
        for norm, branch, vectors in (
            (self.attention_norm, self.attention, per_branch[0]),
            (self.mlp_norm, self.mlp, per_branch[1]),
        ):
            shift, scale, *gate = vectors.chunk(3 if self.gated else 2, dim=1)
            change = branch(modulate(norm(x), shift, scale))
            x = x + (gate[0][:, None] * change if self.gated else change)
        return x


class Head(nn.Module):
    """Final LayerNorm (adaptive or affine) and linear map of each token to its patch."""

    def __init__(self, width: int, outputs: int, adaptive: bool) -> None:
        super().__init__()
        self.norm = _norm(width, affine=not adaptive)
        self.modulation = nn.Linear(width, 2 * width) if adaptive else None
        self.out = nn.Linear(width, outputs)

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        x = self.norm(x)
        if self.modulation is not None:
            x = modulate(x, *self.modulation(nn.functional.silu(condition)).chunk(2, dim=1))
        return self.out(x)


class DiT(nn.Module):
    """Diffusion transformer; ``forward(x, t, y=None)`` returns the predicted noise, same shape as ``x``.

    See `dit` for the options. ``windows`` holds one window (or ``None``) per layer.
    """

    learned_sigma = False

    def __init__(
        self,
        image_size: int,
        channels: int,
        *,
        depth: int,
        width: int,
        heads: int,
        patch: int,
        mlp_ratio: float,
        block: BlockName,
        num_classes: int,
        label_dropout: float,
        windows: list[int | None],
    ) -> None:
        super().__init__()
        self.channels, self.patch, self.block = channels, patch, block
        self.num_classes, self.label_dropout = num_classes, label_dropout
        self.grid = grid_of(image_size, patch)
        self.adaptive = block in ("adaln", "adaln-zero")
        self.patches = nn.Conv2d(channels, width, patch, stride=patch)
        self.register_buffer("positions", position_table(self.grid, width), persistent=False)
        self.time = TimeEmbedding(TIME_CODE_WIDTH, width)
        # The sequence designs always see two conditions: without classes, a learned vector and the time
        # (cross-attention to the time alone could not depend on its query).
        rows = label_rows(num_classes, label_dropout) if num_classes else int(not self.adaptive)
        self.labels = nn.Embedding(rows, width) if rows else None
        extra = 2 if block == "in-context" else 0
        attention = [SelfAttention(width, heads, self.grid, w, extra) for w in windows]
        hidden = int(mlp_ratio * width)
        self.blocks = nn.ModuleList(self._block(a, width, heads, hidden) for a in attention)
        self.head = Head(width, patch**2 * channels * (1 + self.learned_sigma), self.adaptive)
        self._initialise()

    def _block(self, attention: SelfAttention, width: int, heads: int, hidden: int) -> nn.Module:
        if self.adaptive:
            return AdaptiveBlock(attention, width, hidden, gated=self.block == "adaln-zero")
        return PlainBlock(attention, width, heads, hidden, cross=self.block == "cross-attention")

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
            if isinstance(module, (AdaptiveBlock, Head)) and module.modulation is not None:
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

    def _predict(self, x: Tensor, t: Tensor, y: Tensor | None) -> Tensor:
        """Return all output channels as an image (B, C or 2C, H, W)."""
        expected = (self.channels, *(n * self.patch for n in self.grid))
        if tuple(x.shape[1:]) != expected:
            raise ValueError(f"this DiT was built for images of shape {expected}, not {tuple(x.shape[1:])}.")
        tokens = self.patches(x).flatten(2).transpose(1, 2) + self.positions
        condition = self._condition(t, y)
        extra = condition.shape[1] if self.block == "in-context" else 0
        if extra:  # tokens without a position: where they stand makes no difference
            tokens = torch.cat([condition.to(tokens.dtype), tokens], dim=1)
        for block in self.blocks:
            tokens = block(tokens, condition)
        return unpatchify(self.head(tokens[:, extra:], condition), self.grid, self.patch)

    def forward(self, x: Tensor, t: Tensor, y: Tensor | None = None) -> Tensor:
        return self._predict(x, t, y)


class LearnedSigmaDiT(DiT):
    """DiT that also predicts a variance value per pixel: `raw` returns (B, 2C, H, W), noise first."""

    learned_sigma = True

    def raw(self, x: Tensor, t: Tensor, y: Tensor | None = None) -> Tensor:
        return self._predict(x, t, y)

    def forward(self, x: Tensor, t: Tensor, y: Tensor | None = None) -> Tensor:
        return self.raw(x, t, y)[:, : self.channels]


@register_model("dit")
def dit(
    image_size: int,
    channels: int,
    *,
    depth: int,
    width: int,
    heads: int,
    patch: int = 1,
    mlp_ratio: float = 4.0,
    block: BlockName = "adaln-zero",
    learned_sigma: bool = False,
    num_classes: int = 0,
    label_dropout: float = 0.0,
    windows: str | list[int | None] | None = None,
) -> DiT:
    """Build a DiT for pixels or latents.

    ``width`` must be a multiple of 4 and of ``heads``; ``patch`` must divide the image side; ``windows`` in
    tokens as in `bench.models.windows.parse_windows`; ``label_dropout`` above 0 adds a null label, which
    ``y=None`` selects. Raises ValueError for values that do not go together.
    """
    if depth < 1:
        raise ValueError(f"depth must be at least 1, not {depth}.")
    if not 0 <= label_dropout < 1:
        raise ValueError(f"label_dropout must lie in [0, 1), not {label_dropout}.")
    if num_classes < 0 or (label_dropout > 0 and num_classes == 0):
        raise ValueError("label_dropout needs num_classes of at least 1.")
    kind = LearnedSigmaDiT if learned_sigma else DiT
    return kind(
        image_size,
        channels,
        depth=depth,
        width=width,
        heads=heads,
        patch=patch,
        mlp_ratio=mlp_ratio,
        block=block,
        num_classes=num_classes,
        label_dropout=label_dropout,
        windows=parse_windows(windows, depth, grid_of(image_size, patch)[0]),
    )

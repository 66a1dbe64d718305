"""The residual MLP with which Bonnaire et al. (arXiv 2505.17638) learn a mixture of two Gaussians in 8 dimensions.

Vectors (B, d) travel as images of one pixel, (B, d, 1, 1); larger images are read as vectors of all their values.
"""

from __future__ import annotations

from torch import Tensor, nn

from bench.models.embeddings import label_table, resolve_labels, time_code
from bench.models.layers import check_images
from bench.models.options import Count, Dropout, Number
from bench.models.registry import register_model


class Block(nn.Module):
    """LayerNorm of x + MLP(x + code), with exact GELU and no wider hidden layer; (B, width) to the same shape."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(width, width), nn.Linear(width, width)
        self.norm = nn.LayerNorm(width)

    def forward(self, x: Tensor, code: Tensor) -> Tensor:
        return self.norm(x + self.second(nn.functional.gelu(self.first(x + code))))


@register_model("mlp")
class ResidualMlp(nn.Module):
    """Noise predictor of ``depth`` blocks: x (B, C, H, W), t (B,) int64, y (B,) int64 or None, to (B, C, H, W)."""

    def __init__(
        self,
        image_size: int,
        channels: int,
        *,
        width: Count = 128,
        depth: Count = 3,
        num_classes: Number = 0,
        label_dropout: Dropout = 0.0,
    ) -> None:
        super().__init__()
        self.channels, self.side, self.width = channels, image_size, width
        self.num_classes, self.label_dropout = num_classes, label_dropout
        size = channels * image_size**2
        self.labels = label_table(num_classes, label_dropout, width)
        self.stem = nn.Linear(size, width)
        self.blocks = nn.ModuleList(Block(width) for _ in range(depth))
        self.out = nn.Linear(width, size)

    def forward(self, x: Tensor, t: Tensor, y: Tensor | None = None) -> Tensor:
        check_images(x, self.channels, self.side)
        code = time_code(t, self.width)
        if self.labels is not None:
            code = code + self.labels(
                resolve_labels(y, t, self.num_classes, self.label_dropout, self.training)
            )
        h = self.stem(x.flatten(1))
        for block in self.blocks:
            h = block(h, code)
        return self.out(h).view_as(x)

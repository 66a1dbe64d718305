"""Codes that are added to tokens or features: time, place, class."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn


def time_code(t: Tensor, width: int, max_period: float = 10_000.0) -> Tensor:
    """Return the sinusoidal code (B, width) of integer timesteps (B,): cosines first, then sines.

    Frequency i of half = width // 2 is ``max_period ** (-i / half)``; an odd width ends in a zero column.
    """
    half = width // 2
    steps = torch.arange(half, dtype=torch.float32, device=t.device)
    angles = t[:, None].float() * torch.exp(-math.log(max_period) * steps / half)[None]
    code = torch.cat([angles.cos(), angles.sin()], dim=1)
    return nn.functional.pad(code, (0, width - 2 * half))


class TimeEmbedding(nn.Module):
    """Time code of ``code_width`` -> Linear -> SiLU -> Linear; (B,) timesteps to (B, width)."""

    def __init__(self, code_width: int, width: int, hidden: int | None = None) -> None:
        super().__init__()
        self.code_width = code_width
        self.first = nn.Linear(code_width, hidden or width)
        self.second = nn.Linear(hidden or width, width)

    def forward(self, t: Tensor) -> Tensor:
        code = time_code(t, self.code_width).to(self.first.weight.dtype)
        return self.second(nn.functional.silu(self.first(code)))


def position_table(grid: tuple[int, int], width: int) -> Tensor:
    """Return the fixed 2-D sine-cosine table (1, rows * columns, width), float32, tokens row by row.

    The first half of the channels codes the column, the second half the row; each half is a block of sines,
    then a block of cosines, base 10000. Raises ValueError unless ``width`` is a multiple of 4.
    """
    if width % 4:
        raise ValueError(f"sine-cosine positions need a width that is a multiple of 4, not {width}.")
    quarter = width // 4
    frequencies = 10_000.0 ** (-torch.arange(quarter, dtype=torch.float64) / quarter)
    row, column = torch.meshgrid(*(torch.arange(n, dtype=torch.float64) for n in grid), indexing="ij")
    angles = [axis.reshape(-1, 1) * frequencies for axis in (column, row)]
    return torch.cat([f for a in angles for f in (a.sin(), a.cos())], dim=1).float()[None]


def label_table(num_classes: int, label_dropout: float, width: int) -> nn.Embedding | None:
    """Return a table of class vectors, with a null row where labels can be dropped; None without classes.

    Raises ValueError for dropout without classes.
    """
    if label_dropout and not num_classes:
        raise ValueError("label_dropout needs num_classes of at least 1.")
    return nn.Embedding(num_classes + (label_dropout > 0), width) if num_classes else None


def resolve_labels(
    y: Tensor | None, t: Tensor, num_classes: int, label_dropout: float, training: bool
) -> Tensor:
    """Return the labels (B,) that a class-conditional network embeds, drawn once per forward pass.

    ``None`` becomes the null label ``num_classes``; without a null row only a one-class network accepts it.
    In training each label turns null with probability ``label_dropout`` (torch's global generator).
    Raises ValueError for ``None`` if there is no null row.
    """
    if y is None:
        if label_dropout == 0 and num_classes > 1:
            raise ValueError(
                f"a network of {num_classes} classes without label_dropout has no null label; give y."
            )
        return torch.full_like(t, num_classes if label_dropout > 0 else 0)
    if training and label_dropout > 0:
        dropped = torch.rand(y.shape, device=y.device) < label_dropout
        y = torch.where(dropped, torch.full_like(y, num_classes), y)
    return y

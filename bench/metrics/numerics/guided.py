"""Samples of a labelled network by classifier-free guidance, from noise that depends on its position alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from bench.data.pixels import to_uint8
from bench.diffusion.sampling import sample
from bench.metrics.numerics.denoising import normal
from bench.support.console import Progress

if TYPE_CHECKING:
    from bench.jobs.run import Run
    from bench.metrics.guidance import GuidanceOptions

BATCH = 64  # part of the protocol: noise is drawn per batch


class Guided(nn.Module):
    """Noise guided towards labels ``y`` (B,) by ``scale``; x (B, C, H, W), t (B,) to the noise (B, C, H, W).

    A learned variance is that of the labelled prediction, as in the sampler of Peebles & Xie 2023.
    """

    def __init__(self, model: nn.Module, y: Tensor, scale: float) -> None:
        super().__init__()
        self.model, self.y, self.scale = model, y, scale
        self.learned_sigma = getattr(model, "learned_sigma", False)

    def forward(self, x: Tensor, t: Tensor, y: Tensor | None = None) -> Tensor:
        return self._mixed(self.model(x, t, self.y), self.model(x, t))

    def raw(self, x: Tensor, t: Tensor, y: Tensor | None = None) -> Tensor:
        """Return the guided noise and the labelled variance values, (B, 2C, H, W)."""
        (towards, values), (without, _) = (self.model.raw(x, t, y).chunk(2, 1) for y in (self.y, None))
        return torch.cat([self._mixed(towards, without), values], dim=1)

    def _mixed(self, towards: Tensor, without: Tensor) -> Tensor:
        return without + self.scale * (towards - without)


def draw_guided(run: Run, options: GuidanceOptions, scale: float) -> np.ndarray:
    """Return uint8 samples (n, H, W, C); sample k has the class k modulo the number of classes."""
    schedule, classes = run.schedule.respace(options.steps), run.spec.model.options["num_classes"]
    found: list[np.ndarray] = []
    with Progress(options.count, f"guidance {scale:g} of {run.spec.name}", "image") as progress:
        for first in range(0, options.count, BATCH):
            count, batch = min(BATCH, options.count - first), first // BATCH
            shape = (count, run.channels, run.image_size, run.image_size)

            def noise(index: int, shape=shape, batch=batch) -> Tensor:
                return normal((BATCH, *shape[1:]), run.device, f"guidance/{batch}", index)[: shape[0]]

            y = torch.arange(first, first + count, device=run.device) % classes
            start = normal((BATCH, *shape[1:]), run.device, "guidance", batch)[:count]
            drawn = sample(Guided(run.model, y, scale), schedule, start, options.sampler, noise)
            found.append(to_uint8(drawn.cpu()).numpy())
            progress.advance(count)
    return np.concatenate(found)

"""Draw samples of a run. All runs of one image shape start from the same noise and meet the same noise."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn

from bench.data.pixels import to_uint8
from bench.diffusion.sampling import sample
from bench.support.console import Progress
from bench.support.errors import BenchError
from bench.support.randomness import generator

if TYPE_CHECKING:
    from bench.jobs.run import Run
    from bench.metrics.samples import SamplesOptions

BATCH = 64  # part of the protocol: noise is drawn per batch
TOGETHER = {"cpu": 1, "cuda": 16}  # batches that pass the network together


def _model(run: Run, weights: str) -> nn.Module:
    if weights == "ema":
        return run.model
    file = run.folder / "raw.safetensors"
    if not file.exists():
        raise BenchError(f"{file} does not exist; train {run.spec.name} with keep_raw: true.")
    return run.reopen(weights=file).model


def draw_samples(run: Run, options: SamplesOptions) -> np.ndarray:
    """Return uint8 samples (n, H, W, C)."""
    model, schedule = _model(run, options.weights), run.schedule.respace(options.steps)
    size = BATCH * TOGETHER.get(torch.device(run.device).type, 1)
    found = []
    with Progress(options.count, f"sample {run.spec.name}", "image") as progress:
        for first in range(0, options.count, size):
            count = min(size, options.count - first)
            shape = (count, run.channels, run.image_size, run.image_size)
            start = _noise("samples", first, shape).to(run.device)

            def noise(index: int, first: int = first, shape: tuple = shape) -> torch.Tensor:
                return _noise("samples/{batch}", first, shape, index)

            how = {"eta": options.eta, "variance": options.variance}
            drawn = sample(model, schedule, start, options.sampler, noise, **how)
            found.append(to_uint8(drawn.cpu()).numpy())
            progress.advance(count)
    return np.concatenate(found)


def _noise(stream: str, first: int, shape: tuple[int, ...], index: int | None = None) -> torch.Tensor:
    """Return the noise of samples ``first`` and on, whatever number passes the network together."""
    parts = []
    for batch in range(first // BATCH, -(-(first + shape[0]) // BATCH)):
        step = batch if index is None else index
        draws = generator(0, stream.format(batch=batch), step)
        parts.append(torch.randn((BATCH, *shape[1:]), generator=draws))
    return torch.cat(parts)[: shape[0]]

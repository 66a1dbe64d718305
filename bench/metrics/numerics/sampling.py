"""Draw samples of a run. All runs of one image shape start from the same noise and meet the same noise."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn

from bench.data.pixels import to_uint8
from bench.diffusion.sampling import sample
from bench.metrics.numerics.denoising import normal
from bench.metrics.numerics.parts import in_parts
from bench.support.console import Progress
from bench.support.errors import BenchError

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
    found: list[np.ndarray] = []
    with Progress(options.count, f"sample {run.spec.name}", "image") as progress:

        def work(first: int, count: int) -> None:
            shape = (count, run.channels, run.image_size, run.image_size)
            start = _noise("samples", first, shape, run.device)
            drawn = sample(
                model, schedule, start, options.sampler,
                lambda index: _noise("samples/{batch}", first, shape, run.device, index),
                eta=options.eta, variance=options.variance,
            )  # fmt: skip
            found.append(to_uint8(drawn.cpu()).numpy())
            progress.advance(count)

        together = BATCH * TOGETHER.get(torch.device(run.device).type, 1)
        in_parts(options.count, together, work, unit=BATCH)
    return np.concatenate(found)


def _noise(
    stream: str, first: int, shape: Sequence[int], device: str, index: int | None = None
) -> torch.Tensor:
    """Return the noise of samples ``first`` and on, whatever number passes the network together."""
    batches = range(first // BATCH, -(-(first + shape[0]) // BATCH))
    whole = (BATCH, *shape[1:])
    parts = [normal(whole, device, stream.format(batch=b), b if index is None else index) for b in batches]
    return torch.cat(parts)[: shape[0]]

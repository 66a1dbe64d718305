"""Samples of a run. All runs of one image shape start from the same noise and meet the same noise."""

from __future__ import annotations

import numpy as np
import torch

from bench.console import Progress
from bench.data.pixels import to_uint8
from bench.diffusion.sampling import sample
from bench.options import FrechetOptions
from bench.randomness import generator
from bench.runs import Run

BATCH = 64  # part of the protocol: noise is drawn per batch


def draw_samples(run: Run, options: FrechetOptions, device: str) -> np.ndarray:
    """Return uint8 samples (n, H, W, C)."""
    schedule = run.schedule.respace(options.steps)
    shape = (BATCH, run.channels, run.image_size, run.image_size)
    found = []
    with Progress(options.samples, f"sample {run.spec.name}", "image") as progress:
        for batch in range(-(-options.samples // BATCH)):
            start = torch.randn(shape, generator=generator(0, "samples", batch)).to(device)

            def noise(index: int, batch: int = batch) -> torch.Tensor:
                return torch.randn(shape, generator=generator(0, f"samples/{batch}", index))

            found.append(to_uint8(sample(run.model, schedule, start, options.sampler, noise).cpu()).numpy())
            progress.advance(min(BATCH, options.samples - batch * BATCH))
    return np.concatenate(found)[: options.samples]

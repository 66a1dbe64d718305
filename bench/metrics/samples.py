"""Samples of a run. All runs of one image shape start from the same noise and meet the same noise."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import torch
from torch import nn

from bench.data.pixels import to_uint8
from bench.diffusion.sampling import sample
from bench.jobs.run import Run
from bench.metrics.options import FrechetOptions
from bench.support.console import Progress
from bench.support.errors import BenchError
from bench.support.files import save_arrays
from bench.support.randomness import generator

BATCH = 64  # part of the protocol: noise is drawn per batch
TOGETHER = {"cpu": 1, "cuda": 16}  # batches that pass the network together


def protocol_of(options: FrechetOptions) -> str:
    """Return how samples are drawn, as a row's protocol says it."""
    return (
        f"weights={options.weights};samples={options.samples};sampler={options.sampler};steps={options.steps}"
    )


def _model(run: Run, weights: str) -> nn.Module:
    if weights == "ema":
        return run.model
    file = run.folder / "raw.safetensors"
    if not file.exists():
        raise BenchError(f"{file} does not exist; train {run.spec.name} with keep_raw: true.")
    return Run(run.folder, run.device, file).model


def draw_samples(run: Run, options: FrechetOptions) -> np.ndarray:
    """Return uint8 samples (n, H, W, C)."""
    model, schedule = _model(run, options.weights), run.schedule.respace(options.steps)
    size = BATCH * TOGETHER.get(torch.device(run.device).type, 1)
    found = []
    with Progress(options.samples, f"sample {run.spec.name}", "image") as progress:
        for first in range(0, options.samples, size):
            count = min(size, options.samples - first)
            shape = (count, run.channels, run.image_size, run.image_size)
            start = _noise("samples", first, shape).to(run.device)

            def noise(index: int, first: int = first, shape: tuple = shape) -> torch.Tensor:
                return _noise("samples/{batch}", first, shape, index)

            found.append(to_uint8(sample(model, schedule, start, options.sampler, noise).cpu()).numpy())
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


def write_samples(run: Run, options: FrechetOptions) -> Path:
    """Draw the samples that a run is measured by into ``samples.npz``, with how they were drawn."""
    file = run.folder / "samples.npz"
    drawn = draw_samples(run, options)
    save_arrays(
        file, samples=drawn, protocol=np.array(protocol_of(options)), run=np.array(run.record["digest"])
    )
    return file


def read_samples(run: Run, options: FrechetOptions | None = None) -> tuple[np.ndarray, str]:
    """Return the run's samples, uint8 (n, H, W, C), and how they were drawn.

    Raises BenchError where ``samples.npz`` is missing or damaged, was drawn otherwise than ``options`` say or of
    another training.
    """
    file, cure = run.folder / "samples.npz", f"run `bench samples {run.spec.name}` again"
    try:
        with np.load(file, allow_pickle=False) as drawn:
            samples, protocol, digest = drawn["samples"], str(drawn["protocol"]), str(drawn["run"])
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise BenchError(f"{file} is missing or damaged ({error}); {cure}.") from error
    if options is not None and protocol != protocol_of(options):
        raise BenchError(f"{file} was drawn with {protocol}, not {protocol_of(options)}; {cure}.")
    if digest != run.record["digest"]:
        raise BenchError(f"{file} was drawn of another training of {run.spec.name}; {cure}.")
    return samples, protocol

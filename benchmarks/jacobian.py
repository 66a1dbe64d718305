"""Spectra of a Jacobian against one gradient call per pixel and a dense SVD.

``python benchmarks/jacobian.py [--networks unet-s32 dit-s32] [--leading 16] [--rows 64]`` prints Markdown. A network is
a preset with random weights, at noise, or the folder of a finished run: the trained network at its first test image
with the noise of ``--step`` of 50, where the spectrum of the image estimate decays as it does in measurements (that of
random weights hardly does, which is hard on the leading values).  The method compared with is that of the repository of
Kadkhodaie et al. 2024: one forward pass, one gradient call for each pixel, one SVD; its gradient calls are timed on
``--rows`` pixels and scaled to all.  Processor time on a CPU, so that a busy machine changes little; each part runs in
a fresh process, whose peak memory is given.
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from bench.data.pixels import to_network
from bench.jobs.run import Run
from bench.metrics.jacobian import operators
from bench.metrics.numerics.spectra import Function, Maps, dense_jacobian, leading_spectra, spectra
from bench.models.registry import build
from bench.models.spec import ModelSpec
from bench.suite.config import load_models
from bench.support.randomness import generator


def network(name: str, device: str, step: int) -> tuple[Function, Tensor, Maps]:
    """Return a network as a function of images, an image, and the operator that is decomposed."""
    if (Path(name) / "run.json").exists():
        return trained(Run(name, device), step)
    preset = load_models()[name]
    torch.manual_seed(0)
    model = build(ModelSpec(name, preset.family, preset.options), preset.image_size, preset.channels)
    for parameter in model.parameters():  # last layers start at zero
        parameter.data.add_(0.02 * torch.randn_like(parameter))
    model = model.to(device).eval().requires_grad_(False)
    x = torch.randn(1, preset.channels, preset.image_size, preset.image_size).to(device)
    return lambda z: model(z, torch.full((len(z),), 500, device=device)), x, {"eps": (0.0, 1.0)}


def trained(run: Run, step: int) -> tuple[Function, Tensor, Maps]:
    """Return a run's network at its first test image with noise, and the operator of the image estimate."""
    grid = run.schedule.respace(50)
    clean = to_network(torch.from_numpy(run.test_images(1))).to(run.device).contiguous()
    noise = torch.randn(clean.shape, generator=generator(0, "jacobian-noise", step)).to(run.device)
    t, model = int(grid.timesteps[step]), run.model
    maps = {"x0": operators(float(grid.alphas_cumprod[step]))["x0"]}
    return (
        lambda z: model(z, torch.full((len(z),), t, device=run.device)),
        grid.q_sample(clean, step, noise),
        maps,
    )


def clock(device: str) -> float:
    """Return seconds: of the processor on a CPU, of the wall once the device is done elsewhere."""
    if device == "cpu":
        return time.process_time()
    torch.cuda.synchronize()
    return time.perf_counter()


def by_pixel(name: str, device: str, step: int, rows: int, _leading: int) -> float:
    """Return the seconds of a gradient call for each pixel, scaled from ``rows`` calls, and of the dense SVD."""
    function, x, _ = network(name, device, step)
    began = clock(device)
    x.requires_grad_()
    out = function(x).flatten()
    forward = clock(device) - began
    began = clock(device)
    for i in range(rows):
        torch.autograd.grad(out[i * len(out) // rows], x, retain_graph=True)
    gradients = (clock(device) - began) * len(out) / rows
    matrix = np.random.default_rng(0).standard_normal((len(out), len(out))).astype(np.float32)
    began = time.process_time() if device == "cpu" else time.perf_counter()
    np.linalg.svd(matrix)
    ended = time.process_time() if device == "cpu" else time.perf_counter()
    return forward + gradients + ended - began


def full(name: str, device: str, step: int, _rows: int, _leading: int) -> float:
    """Return the seconds of the complete spectrum: eigenvalues, eigenvectors and singular values."""
    function, x, maps = network(name, device, step)
    began = clock(device)
    spectra(dense_jacobian(function, x), maps)
    return clock(device) - began


def leading(name: str, device: str, step: int, _rows: int, count: int) -> float:
    """Return the seconds of the leading eigenpairs and singular values."""
    function, x, maps = network(name, device, step)
    began = clock(device)
    leading_spectra(function, x, count, maps)
    return clock(device) - began


PARTS = {"pixel": by_pixel, "full": full, "leading": leading}


def _alone(part: str, arguments: tuple) -> tuple[float, float]:
    torch.set_num_threads(1)
    network(*arguments[:3])
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    seconds = PARTS[part](*arguments)
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return seconds, (after - before) / 1024


def timed(part: str, *arguments) -> tuple[float, float]:
    """Return seconds and additional peak memory, MiB, of a part in a fresh process."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as alone:
        return alone.submit(_alone, part, arguments).result()


def main() -> None:
    """Parse the arguments and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--networks", nargs="+", default=["unet-s32", "dit-s32"])
    parser.add_argument("--step", type=int, default=15)
    parser.add_argument("--leading", type=int, default=16)
    parser.add_argument("--rows", type=int, default=64)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--parts", nargs="+", choices=tuple(PARTS), default=list(PARTS))
    arguments = parser.parse_args()
    words = {
        "pixel": "a gradient call per pixel, dense SVD",
        "full": "complete spectrum",
        "leading": f"{arguments.leading} leading values",
    }
    print(
        "| network | what | seconds | speed-up | peak memory added, MiB |\n| --- | --- | --- | --- | --- |",
        flush=True,
    )
    for name in arguments.networks:
        reference = None
        for part in arguments.parts:
            seconds, memory = timed(
                part, name, arguments.device, arguments.step, arguments.rows, arguments.leading
            )
            reference = seconds if part == "pixel" else reference
            ratio = f"{reference / seconds:.1f}" if reference else ""
            print(
                f"| {Path(name).name} | {words[part]} | {seconds:.1f} | {ratio} | {memory:.0f} |", flush=True
            )


if __name__ == "__main__":
    main()

"""Spectra of a Jacobian against one gradient call per pixel and a dense SVD: ``python benchmarks/jacobian.py``.

A network is a preset with random weights, at noise, or the folder of a finished run: the trained network at its first
test image with the noise of ``--step`` of 50. The spectrum of random weights hardly decays, which is hard on the leading
values. The method compared with is that of the code of Kadkhodaie et al. 2024; its gradient calls are timed on ``--rows``
pixels and scaled to all. Each part runs in a fresh process, for its peak memory.
"""

from __future__ import annotations

import multiprocessing
import resource
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import torch
from timing import Table, now, parser, preset
from torch import Tensor

from bench.data.pixels import to_network
from bench.jobs.run import Run
from bench.metrics.jacobian import operators
from bench.metrics.numerics.spectra import Function, Maps, dense_jacobian, leading_spectra, spectra
from bench.support.randomness import generator

Given = tuple[Function, Tensor, Maps]


def network(name: str, device: str, step: int) -> Given:
    """Return a network as a function of images, an image, and the operator that is decomposed."""
    if (Path(name) / "run.json").exists():
        return trained(Run(name, device), step)
    torch.manual_seed(0)
    model, shape = preset(name, "cpu")
    for parameter in model.parameters():  # last layers start at zero
        parameter.data.add_(0.02 * torch.randn_like(parameter))
    model = model.to(device).eval().requires_grad_(False)
    x = torch.randn(1, *shape).to(device)
    return lambda z: model(z, torch.full((len(z),), 500, device=device)), x, {"eps": (0.0, 1.0)}


def trained(run: Run, step: int) -> Given:
    """Return a run's network at its first test image with noise, and the operator of the image estimate."""
    grid = run.schedule.respace(50)
    clean = to_network(torch.from_numpy(run.test_images(1))).to(run.device).contiguous()
    noise = torch.randn(clean.shape, generator=generator(0, "jacobian-noise", step)).to(run.device)
    t, model = int(grid.timesteps[step]), run.model
    maps = {"x0": operators(float(grid.alphas_cumprod[step]))["x0"]}
    x = grid.q_sample(clean, step, noise)
    return lambda z: model(z, torch.full((len(z),), t, device=run.device)), x, maps


def by_pixel(given: Given, device: str, rows: int) -> float:
    """Return the seconds of a gradient call for each pixel, scaled from ``rows`` calls, and of the dense SVD."""
    function, x, _ = given
    times = [now(device)]
    x.requires_grad_()
    out = function(x).flatten()
    times.append(now(device))
    for i in range(rows):
        torch.autograd.grad(out[i * len(out) // rows], x, retain_graph=True)
    times.append(now(device))
    np.linalg.svd(np.random.default_rng(0).standard_normal((len(out), len(out))).astype(np.float32))
    times.append(now(device))
    forward, gradients, dense = np.diff(times)
    return forward + gradients * len(out) / rows + dense


def measured(part: str, name: str, device: str, step: int, rows: int, leading: int) -> tuple[float, float]:
    """Return seconds and additional peak memory, MiB, of one part in this process."""
    torch.set_num_threads(1)
    given = function, x, maps = network(name, device, step)
    before, began = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, now(device)
    if part == "pixel":
        seconds = by_pixel(given, device, rows)
    else:
        if part == "full":
            spectra(dense_jacobian(function, x), maps)
        else:
            leading_spectra(function, x, leading, maps)
        seconds = now(device) - began
    return seconds, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024


def main() -> None:
    """Parse the arguments and print the table."""
    made = parser(__doc__)
    made.add_argument("--networks", nargs="+", default=["unet-s32", "dit-s32"])
    made.add_argument("--step", type=int, default=15)
    made.add_argument("--leading", type=int, default=16)
    made.add_argument("--rows", type=int, default=64)
    given = made.parse_args()
    words = {
        "pixel": "a gradient call per pixel, dense SVD",
        "full": "complete spectrum",
        "leading": f"{given.leading} leading values",
    }
    table = Table(given, ["network", "what", "seconds", "speed-up", "peak memory added (MiB)"])
    for name in given.networks:
        reference = None
        for part, what in words.items():
            with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as alone:
                asked = (part, name, given.device, given.step, given.rows, given.leading)
                seconds, memory = alone.submit(measured, *asked).result()
            reference = reference or seconds
            table.add(Path(name).name, what, seconds, reference / seconds, memory)


if __name__ == "__main__":
    main()

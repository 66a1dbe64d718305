"""Samples per second: ``python benchmarks/sampling.py [--models unet-t16 dit-t16 dit-t16-local] [--steps 50]``.

A batch of 64, as the measurements draw them; the share beside the bare forward passes is the sampler's own.
"""

from __future__ import annotations

import argparse
import time

import torch

from bench.diffusion.sampling import sample
from bench.diffusion.schedule import make_schedule
from bench.metrics.samples import BATCH
from bench.models.registry import build
from bench.models.spec import ModelSpec
from bench.suite.config import load_models


def seconds(work, device: str) -> float:
    """Return the seconds of a call: of the processor on a CPU, of the wall elsewhere."""
    clock = time.process_time if device == "cpu" else time.perf_counter
    began = clock()
    work()
    if device != "cpu":
        torch.cuda.synchronize()
    return clock() - began


@torch.no_grad()
def row(name: str, sampler: str, steps: int, batch: int, device: str) -> str:
    """Return a row of the table."""
    preset = load_models()[name]
    spec = ModelSpec(name, preset.family, preset.options)
    model = build(spec, preset.image_size, preset.channels).to(device).eval().requires_grad_(False)
    grid = make_schedule("linear").respace(steps)
    start = torch.randn(batch, preset.channels, preset.image_size, preset.image_size, device=device)
    t = torch.full((batch,), 500, device=device)
    model(start, t)  # warm

    def bare() -> None:
        for _ in range(steps):
            model(start, t)

    alone = seconds(bare, device)
    whole = seconds(
        lambda: sample(model, grid, start, sampler, lambda _index: torch.randn(start.shape)), device
    )
    return f"| {name} | {sampler}, {steps} steps | {batch / whole:.2f} | {whole / alone - 1:+.1%} |"


def main() -> None:
    """Parse the arguments and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", nargs="+", default=["unet-t16", "dit-t16", "dit-t16-local"])
    parser.add_argument("--steps", type=int, default=50)
    parser.add_argument("--batch", type=int, default=BATCH)
    parser.add_argument("--device", default="cpu")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    print(f"Batch {arguments.batch}, {arguments.device}, one thread\n")
    print("| network | sampler | images/s | beside the forward passes |\n| --- | --- | --- | --- |")
    for name in arguments.models:
        for sampler in ("ddpm", "ddim"):
            print(row(name, sampler, arguments.steps, arguments.batch, arguments.device), flush=True)


if __name__ == "__main__":
    main()

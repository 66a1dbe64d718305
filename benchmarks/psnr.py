"""What measuring PSNR costs beside the bare forward passes: ``python benchmarks/psnr.py [--model unet-t16]``.

K = 300 images at 50 steps, as in the paper. Both are timed in turn, step counts as given; on a CPU in processor time.
"""

from __future__ import annotations

import argparse
import statistics
import time

import torch

from bench.diffusion.schedule import Schedule, make_schedule
from bench.metrics.psnr import BATCH, psnr_by_step
from bench.models.registry import build
from bench.models.spec import ModelSpec
from bench.suite.config import load_models


@torch.no_grad()
def forwards(model: torch.nn.Module, grid: Schedule, images: torch.Tensor) -> None:
    """Pass the images through the network, once for each step, in the batches of the measurement."""
    for index in range(len(grid)):
        for rows in images.split(BATCH):
            model(rows, torch.full((len(rows),), int(grid.timesteps[index]), device=rows.device))


def seconds(work, device: str) -> float:
    """Return the seconds of a call."""
    clock = time.process_time if device == "cpu" else time.perf_counter
    began = clock()
    work()
    if device != "cpu":
        torch.cuda.synchronize()
    return clock() - began


def main() -> None:
    """Parse the arguments and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="unet-t16")
    parser.add_argument("--images", type=int, default=300)
    parser.add_argument("--steps", type=int, default=50)
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--device", default="cpu")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    preset, device = load_models()[arguments.model], arguments.device
    shape = (preset.channels, preset.image_size, preset.image_size)
    spec = ModelSpec(arguments.model, preset.family, preset.options)
    model = build(spec, preset.image_size, preset.channels).to(device).eval().requires_grad_(False)
    images = torch.rand(arguments.images, *shape, device=device) * 2 - 1
    grid = make_schedule("linear").respace(arguments.steps)
    forwards(model, grid.respace(1), images)  # warm
    turns = [
        (
            seconds(lambda: forwards(model, grid, images), device),
            seconds(lambda: psnr_by_step(model, grid, images), device),
        )
        for _ in range(arguments.turns)
    ]
    bare, whole = (statistics.median(column) for column in zip(*turns))
    share = statistics.median(b / a for a, b in turns) - 1
    count = arguments.images * arguments.steps
    print(f"{arguments.model}, {arguments.images} images, {arguments.steps} steps, {device}\n")
    print("| what | seconds | images/s |\n| --- | --- | --- |")
    print(f"| bare forward passes | {bare:.2f} | {count / bare:.0f} |")
    print(f"| PSNR | {whole:.2f} ({share:+.1%}) | {count / whole:.0f} |")


if __name__ == "__main__":
    main()

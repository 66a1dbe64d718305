"""What the training loop costs beside the bare network step, and what a checkpoint costs.

``python benchmarks/training_step.py [--model dit-t16] [--batch 32] [--device cpu]`` prints Markdown.  The bare
step is forward, backward and AdamW on one fixed batch; the loop adds draws, noising, the weight average and
the history.  Both are timed in turns of a few steps, and the median turn counts, so that a busy machine
slows both alike.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch

from bench.diffusion.schedule import make_schedule
from bench.models.registry import build
from bench.models.spec import ModelSpec
from bench.suite.config import load_models
from bench.training import state
from bench.training.loop import Loop
from bench.training.options import TrainingOptions


def bare_step(spec: ModelSpec, size: int, channels: int, options: TrainingOptions, device: str) -> Callable:
    """Return a function that does one optimiser step on a fixed batch and nothing else."""
    model = build(spec, size, channels).to(device).train()
    network = model.raw if getattr(model, "learned_sigma", False) else model
    optimiser = torch.optim.AdamW(model.parameters(), lr=options.learning_rate, fused=True)
    x = torch.randn(options.batch, channels, size, size, device=device)
    t = torch.randint(options.timesteps, (options.batch,), device=device)

    def step() -> None:
        with torch.autocast(x.device.type, torch.bfloat16, enabled=options.precision == "bfloat16"):
            value = network(x, t).float().square().mean()
        optimiser.zero_grad(set_to_none=True)
        value.backward()
        optimiser.step()

    return step


def seconds(step: Callable, count: int, device: str) -> float:
    """Return the seconds per step over ``count`` steps."""
    began = time.perf_counter()
    for _ in range(count):
        step()
    if device != "cpu":
        torch.cuda.synchronize()
    return (time.perf_counter() - began) / count


def checkpoint_cost(loop: Loop) -> tuple[float, float]:
    """Return seconds (median of 5) and MiB of one checkpoint."""
    times = []
    with tempfile.TemporaryDirectory() as folder:
        for step in range(5):
            began = time.perf_counter()
            path = state.save(Path(folder), step, loop.state())
            times.append(time.perf_counter() - began)
        return statistics.median(times), path.stat().st_size / 2**20


def main() -> None:
    """Parse the arguments and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="dit-t16")
    parser.add_argument("--size", type=int, default=16)
    parser.add_argument("--channels", type=int, default=1)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--precision", default="float32", choices=("float32", "bfloat16"))
    parser.add_argument("--turns", type=int, default=30)
    parser.add_argument("--steps", type=int, default=10, help="steps per turn")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    options = TrainingOptions(steps=10_000, batch=arguments.batch, precision=arguments.precision)
    preset = load_models()[arguments.model]
    spec = ModelSpec(arguments.model, preset.family, preset.options, preset.file)
    shape, device = (arguments.size, arguments.size, arguments.channels), arguments.device
    images = torch.randint(256, (1000, *shape), dtype=torch.uint8, device=device)
    model = build(spec, arguments.size, arguments.channels).to(device).train()
    loop = Loop(model, make_schedule("linear"), images, options, 0)
    bare = bare_step(spec, arguments.size, arguments.channels, options, device)
    turns = [
        (seconds(bare, arguments.steps, device), seconds(loop.advance, arguments.steps, device))
        for _ in range(arguments.turns + 2)
    ][2:]
    alone, whole = (statistics.median(column) for column in zip(*turns))
    share = statistics.median(b / a for a, b in turns) - 1
    cost, size = checkpoint_cost(loop)
    batch = arguments.batch
    print(f"{arguments.model}, {shape}, batch {batch}, {device}, {arguments.precision}\n")
    print("| what | ms | images/s |\n| --- | --- | --- |")
    print(f"| bare step | {alone * 1e3:.2f} | {batch / alone:.0f} |")
    print(f"| step of the loop | {whole * 1e3:.2f} ({share:+.1%}) | {batch / whole:.0f} |")
    print(f"| checkpoint, {size:.1f} MiB | {cost * 1e3:.1f} ({cost / 60:.3%} of 60 s) | |")


if __name__ == "__main__":
    main()

"""Training steps: what the loop costs beside the bare step, and what each way of stepping gains.

``python benchmarks/steps.py --models dit-t16 unet-t16 --ways bare loop``
``python benchmarks/steps.py --device cuda --tier s32 --ways plain loop captured compiled --precision bfloat16 --batch 64``

Ways: ``forward`` (one forward pass alone), ``bare`` (forward, backward and fused AdamW on a fixed batch), ``plain`` (as
one writes it first: float32, explicit softmax attention, images and noise from the host, the loss read at every step),
``loop`` (the training loop), ``captured`` (the loop as a CUDA graph), ``compiled`` (with torch.compile, and captured). The
share is that of the rate of a large matrix product in the same run and precision; a backward pass counts as two forward
passes.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import torch
from timing import Table, medians, now, parser, preset

from bench.diffusion.schedule import make_schedule
from bench.models.attention import exact_attention
from bench.models.costs import macs, parameters
from bench.suite.config import load_models
from bench.support.matrix_rate import matrix_rate
from bench.training.loop import Loop
from bench.training.options import TrainingOptions

PASSES = {"forward": 1}  # every other way does three


def main() -> None:
    """Parse the arguments and print the table."""
    made = parser(__doc__)
    made.add_argument("--models", nargs="+", default=[])
    made.add_argument("--tier", choices=("t16", "t32", "s32"), help="every family's preset of a tier")
    made.add_argument("--ways", nargs="+", choices=tuple(WAYS), default=["forward", "bare", "loop"])
    made.add_argument("--precision", choices=("float32", "bfloat16"), default="float32")
    made.add_argument("--batch", type=int, default=16)
    made.add_argument(
        "--minutes", type=float, default=60, help="start no measurement after this many minutes"
    )
    arguments = made.parse_args()
    names = [*arguments.models, *(of_tier(arguments.tier) if arguments.tier else [])] or [
        "dit-t16",
        "unet-t16",
    ]
    columns = [
        "network",
        "parameters (M)",
        "GMAC",
        "way",
        "precision",
        "ms",
        "images/s",
        "share",
        "times first",
        "MiB",
        "set-up (s)",
    ]
    rates = {p: matrix_rate(arguments.device, p) for p in {"float32", arguments.precision}}
    table = Table(arguments, columns, batch=arguments.batch, matrix_rates=rates)
    deadline = time.monotonic() + 60 * arguments.minutes
    for name in names:
        first = float("nan")
        for way in arguments.ways:
            if time.monotonic() > deadline:
                return
            first = row(table, arguments, name, way, rates, first)


def of_tier(tier: str) -> list[str]:
    """Return the presets of a tier that vary no other one."""
    return [n for n, p in load_models().items() if n.endswith(f"-{tier}") and p.baseline is None]


def row(table: Table, arguments: argparse.Namespace, name: str, way: str, rates: dict, first: float) -> float:
    """Time one way of one network and add its row; return the seconds that its later ways are compared with."""
    precision = "float32" if way == "plain" else arguments.precision
    counted, shape = preset(name, "meta")
    cost, count = macs(counted, shape[1], shape[0]).total, parameters(counted)
    try:
        seconds, set_up = measured(arguments, name, way)
    except Exception as error:  # out of memory, say: the other rows go on
        reason = f"{type(error).__name__}: {str(error).splitlines()[0][:150]}"
        table.add(name, count / 1e6, cost / 1e9, way, precision, reason, "", "", "", "", "")
        return first
    first = seconds if first != first else first
    share = 2 * PASSES.get(way, 3) * cost * arguments.batch / seconds / rates[precision]
    peak = torch.cuda.max_memory_allocated() / 2**20 if arguments.device.startswith("cuda") else ""
    speed = (1e3 * seconds, arguments.batch / seconds, share, first / seconds)
    table.add(name, count / 1e6, cost / 1e9, way, precision, *speed, peak, set_up)
    return first


def measured(arguments: argparse.Namespace, name: str, way: str) -> tuple[float, float]:
    """Return the median seconds of a step and the seconds until the first six were done."""
    torch.compiler.reset()
    if arguments.device.startswith("cuda"):
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    began = time.monotonic()
    step = WAYS[way](arguments, name, way)
    for _ in range(6):  # compiles, warms up, captures
        step()
    now(arguments.device)
    set_up = time.monotonic() - began
    return medians([step], arguments.device, arguments.rounds, 3)[0], set_up


def forward(arguments: argparse.Namespace, name: str, _way: str) -> Callable[[], object]:
    """Return a forward pass without gradients."""
    model, shape = preset(name, arguments.device)
    x = torch.randn(arguments.batch, *shape, device=arguments.device)
    t = torch.randint(1000, (arguments.batch,), device=arguments.device)
    model.eval()

    def step() -> object:
        with torch.no_grad(), autocast(arguments):
            return model(x, t)

    return step


def bare(arguments: argparse.Namespace, name: str, _way: str) -> Callable[[], object]:
    """Return forward, backward and optimiser on one fixed batch, and nothing else."""
    model, shape = preset(name, arguments.device)
    optimiser = torch.optim.AdamW(model.train().parameters(), lr=1e-4, fused=True)
    x = torch.randn(arguments.batch, *shape, device=arguments.device)
    t = torch.randint(1000, (arguments.batch,), device=arguments.device)

    def step() -> None:
        with autocast(arguments):
            value = model(x, t).float().square().mean()
        optimiser.zero_grad(set_to_none=True)
        value.backward()
        optimiser.step()

    return step


def plain(arguments: argparse.Namespace, name: str, _way: str) -> Callable[[], object]:
    """Return a step as one writes it first."""
    model, shape = preset(name, arguments.device)
    optimiser = torch.optim.AdamW(model.train().parameters(), lr=1e-4, foreach=False, fused=False)
    schedule, device = make_schedule("linear"), arguments.device
    images = torch.randint(256, (1000, *shape), dtype=torch.uint8)

    def step() -> float:
        x0 = images[torch.randint(len(images), (arguments.batch,))].to(device).float() / 127.5 - 1
        t, noise = torch.randint(1000, (arguments.batch,)).to(device), torch.randn(x0.shape).to(device)
        with exact_attention():
            loss = (model(schedule.q_sample(x0, t, noise), t) - noise).square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        return loss.item()

    return step


def of_loop(arguments: argparse.Namespace, name: str, way: str) -> Callable[[], object]:
    """Return a step of the training loop."""
    model, (channels, side, _) = preset(name, arguments.device)
    images = torch.randint(256, (1000, side, side, channels), dtype=torch.uint8, device=arguments.device)
    options = TrainingOptions(
        steps=10**6, batch=arguments.batch, precision=arguments.precision, compile=way == "compiled"
    )
    loop = Loop(model.train(), make_schedule("linear"), images, options, 0)
    loop.every = 10**9  # no row of the history, which waits for the device
    if way == "loop":
        loop.graph = None
    return loop.advance


def autocast(arguments: argparse.Namespace) -> torch.autocast:
    kind = torch.device(arguments.device).type
    return torch.autocast(kind, torch.bfloat16, enabled=arguments.precision == "bfloat16")


WAYS = {
    "forward": forward,
    "bare": bare,
    "plain": plain,
    "loop": of_loop,
    "captured": of_loop,
    "compiled": of_loop,
}

if __name__ == "__main__":
    main()

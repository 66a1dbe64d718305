"""What local attention saves: ``python benchmarks/local_attention.py`` prints Markdown tables.

All variants of one table are timed in turn, round after round, in one process, so that a busy machine slows
all of them alike; ratios of medians are what counts. Peak memory is taken in a fresh process per network.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import platform
import re
import statistics
import time
from collections.abc import Callable
from datetime import date
from pathlib import Path

import torch
from torch.nn.functional import scaled_dot_product_attention

from bench.models.attention import AttentionCore
from bench.models.dit import dit
from bench.support.console import say

WINDOWS = [(32, 3), (32, 5), (32, 7), (32, 9), (32, 13), (64, 3), (64, 7)]
NETWORKS = {"DiT-XS/1": {"width": 252, "heads": 4}, "DiT-S/1": {"width": 384, "heads": 6}}
VARIANTS = {"global": None, "Local": "3,5,7,9,11,13@head", "Local*": "3*3,5*3,7*3@head"}
Work = Callable[[], object]


def main() -> None:
    """Parse the arguments and print both tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads")
    parser.add_argument("--batch", type=int, default=2, help="images per training step")
    parser.add_argument("--rounds", type=int, default=5, help="timed rounds; the median is printed")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    print(f"{device_name(arguments)}, torch {torch.__version__}, {date.today().isoformat()}\n")
    attention_table(arguments)
    training_table(arguments)


def device_name(arguments: argparse.Namespace) -> str:
    """Return the device in words."""
    if arguments.device == "cuda":
        return torch.cuda.get_device_name()
    return f"{platform.machine()} CPU, {arguments.threads} of {os.cpu_count()} threads"


def attention_table(arguments: argparse.Namespace) -> None:
    """Print local attention alone, forward and backward, against the dense mask."""
    print("Attention alone (batch 1, 6 heads of 64, float32, forward and backward)\n")
    print("| tokens | window | global (ms) | dense mask (ms) | local (ms) | local / dense mask |")
    print("| --- | --- | --- | --- | --- | --- |")
    for side, window in WINDOWS:
        full, dense, local = medians(attention_works(side, window, arguments.device), arguments)
        print(
            f"| {side} x {side} | {window} | {full:.1f} | {dense:.1f} | {local:.1f} | {local / dense:.2f} |",
            flush=True,
        )
    print()


def attention_works(side: int, window: int, device: str) -> list[Work]:
    """Return global attention, attention under the dense mask, and local attention, as work to time."""
    qkv = torch.randn(1, side**2, 3, 6, 64, device=device, requires_grad=True)  # as a network lays it out
    weight = torch.randn(1, side**2, 6 * 64, device=device)
    core = AttentionCore((side, side), window)
    mask = core.mask(qkv.device)

    def work(attend: Callable[..., torch.Tensor]) -> Work:
        def both_passes() -> object:
            out = attend(*qkv.permute(2, 0, 3, 1, 4))
            return torch.autograd.grad(out.transpose(1, 2).flatten(2), qkv, weight)

        return both_passes

    masked = work(lambda *x: scaled_dot_product_attention(*x, attn_mask=mask))
    return [work(scaled_dot_product_attention), masked, work(core)]


def training_table(arguments: argparse.Namespace) -> None:
    """Print one optimiser step of the paper's networks, global and with windows."""
    print(f"Training step at 32 x 32 x 3 (batch {arguments.batch}, float32, AdamW)\n")
    print("| network | attention | step (ms) | step / global | peak memory (MiB) | peak / global |")
    print("| --- | --- | --- | --- | --- | --- |")
    for name in NETWORKS:
        times = medians([training_step(name, v, arguments) for v in VARIANTS], arguments)
        peaks = [peak_memory(name, v, arguments) for v in VARIANTS]
        for variant, duration, peak in zip(VARIANTS, times, peaks, strict=True):
            print(
                f"| {name} | {variant} | {duration:.0f} | {duration / times[0]:.2f} | "
                f"{peak:.0f} | {peak / peaks[0]:.2f} |",
                flush=True,
            )


def training_step(name: str, variant: str, arguments: argparse.Namespace) -> Work:
    """Return one optimiser step on fixed random images."""
    options = {"depth": 12, "patch": 1, **NETWORKS[name]}
    model = dit(32, 3, **options, windows=VARIANTS[variant]).to(arguments.device)
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-4)
    x = torch.randn(arguments.batch, 3, 32, 32, device=arguments.device)
    t = torch.arange(arguments.batch, device=arguments.device)

    def step() -> None:
        (model(x, t) - x).square().mean().backward()
        optimiser.step()
        optimiser.zero_grad()

    return step


def medians(works: list[Work], arguments: argparse.Namespace) -> list[float]:
    """Return the median milliseconds of each work, all taken in turn after one warm-up round."""
    times: list[list[float]] = [[] for _ in works]
    for turn in range(arguments.rounds + 1):
        for work, taken in zip(works, times, strict=True):
            start = now(arguments.device)
            work()
            if turn:
                taken.append(1e3 * (now(arguments.device) - start))
    return [statistics.median(taken) for taken in times]


def now(device: str) -> float:
    """Return seconds: processor time of this process on a CPU (others may be busy), else the clock."""
    if device != "cuda":
        return time.process_time()
    torch.cuda.synchronize()
    return time.perf_counter()


def peak_memory(name: str, variant: str, arguments: argparse.Namespace) -> float:
    """Return the peak MiB of two training steps above the start, from a process of their own."""
    say(f"peak memory of {name}, {variant}")
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(_peak_memory, (name, variant, arguments))


def _peak_memory(name: str, variant: str, arguments: argparse.Namespace) -> float:
    torch.set_num_threads(arguments.threads)
    torch.ones(64, 64).matmul(torch.ones(64, 64))  # libraries load their threads and buffers
    start = _high_water()
    step = training_step(name, variant, arguments)
    for _ in range(2):
        step()
    return torch.cuda.max_memory_allocated() / 2**20 if arguments.device == "cuda" else _high_water() - start


def _high_water() -> float:
    """Return this process's peak resident MiB (Linux); getrusage would also report its parent's."""
    status = Path("/proc/self/status").read_text()
    return int(re.search(r"VmHWM:\s+(\d+)", status)[1]) / 1024


if __name__ == "__main__":
    main()

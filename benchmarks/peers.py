"""Training steps against the official networks, and what bounds ours.

``python benchmarks/peers.py --checkouts DIR`` where DIR holds git clones of facebookresearch/DiT, openai/improved-diffusion,
baofff/U-ViT and YuchuanTian/U-DiT; the first needs ``timm``, the last two ``einops``.

Both do forward, backward and fused AdamW on one fixed batch in float32, in turn. ``official / ours`` is the ratio of their
seconds. ``products`` is the share of our step inside matrix products, convolutions and attention kernels: with all else
free, the step would be 1 / products times faster. ``rate`` is the rate of our whole step over that of a large product.
"""

from __future__ import annotations

import argparse
import importlib
import math
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from timing import Table, medians, parser
from torch import nn
from torch.profiler import ProfilerActivity, profile

from bench.models.costs import macs, parameters
from bench.models.registry import build
from bench.models.spec import ModelSpec
from bench.support.matrix_rate import matrix_rate
from bench.support.torchvision_import import ensure_torchvision

PRODUCTS = ("mm", "convolution", "attention")  # in the names of operators
U_DIT = {
    "mlp_ratio": 2,
    "ffn_type": "rep",
    "rep": 1,
    "attn_type": "v2",
    "posemb_type": "rope2d",
    "downsampler": "dwconv5",
    "down_shortcut": 1,
}
NO_LABELS = {"num_classes": 1, "class_dropout_prob": 0.0, "learn_sigma": False}
CASES = [
    ("dit", 16, 1, {"width": 64, "depth": 6, "heads": 2, "patch": 2}),
    ("dit", 32, 3, {"width": 192, "depth": 8, "heads": 3, "patch": 2}),
    ("unet", 16, 1, {"width": 32, "blocks": 1, "multipliers": (1, 2, 2), "attention": (2,)}),
    ("unet", 32, 3, {"width": 64, "blocks": 1, "multipliers": (1, 2, 2), "attention": (2,)}),
    ("u-vit", 16, 1, {"width": 64, "depth": 4, "heads": 2}),
    ("u-vit", 32, 3, {"width": 192, "depth": 6, "heads": 3}),
    ("u-dit", 16, 1, {"width": 32, "heads": 4, "depths": (1, 1, 1, 1, 1)}),
    ("u-dit", 32, 3, {"width": 48, "heads": 4, "depths": (1, 2, 2, 2, 1)}),
]


def main() -> None:
    """Parse the arguments and print the table."""
    made = parser(__doc__)
    made.add_argument(
        "--checkouts", type=Path, help="folder of the official repositories; without it, ours alone"
    )
    made.add_argument("--batch", type=int, default=16)
    arguments = made.parse_args()
    rate = matrix_rate(arguments.device, "float32")
    columns = [
        "network",
        "side",
        "parameters (M)",
        "official (M)",
        "GMAC",
        "ms",
        "official / ours",
        "products",
        "rate",
    ]
    table = Table(arguments, columns, batch=arguments.batch, matrix_rate=rate)
    for family, side, channels, options in CASES:
        ours = build(ModelSpec(family, family, options), side, channels)
        works, count = [step(arguments, ours, channels, side)], math.nan
        if arguments.checkouts:
            theirs = official(arguments.checkouts, family, side, channels, options)
            works.append(step(arguments, theirs, channels, side, labels=family in ("dit", "u-dit")))
            count = parameters(theirs) / 1e6
        seconds = medians(works, arguments.device, arguments.rounds, 3)
        cost = macs(ours, side, channels).total
        speed = (
            1e3 * seconds[0],
            seconds[1] / seconds[0] if arguments.checkouts else math.nan,
            products(works[0]),
            6 * cost * arguments.batch / seconds[0] / rate,
        )
        table.add(family, side, parameters(ours) / 1e6, count, cost / 1e9, *speed)


def step(
    arguments: argparse.Namespace, model: nn.Module, channels: int, side: int, labels: bool = False
) -> Callable[[], None]:
    """Return forward, backward and optimiser on one fixed batch, with a class where the network insists on one."""
    model.to(arguments.device).train()
    optimiser = torch.optim.AdamW((p for p in model.parameters() if p.requires_grad), lr=1e-4, fused=True)
    x = torch.randn(arguments.batch, channels, side, side, device=arguments.device)
    t = torch.randint(1000, (arguments.batch,), device=arguments.device)
    given = (x, t, torch.zeros_like(t)) if labels else (x, t)

    def work() -> None:
        optimiser.zero_grad(set_to_none=True)
        model(*given).square().mean().backward()
        optimiser.step()

    return work


def products(work: Callable[[], None]) -> float:
    """Return the share of a step's operator time that lies in matrix products, convolutions and attention."""
    with profile(activities=[ProfilerActivity.CPU]) as found:
        work()
    spent = [
        (event.key, event.self_cpu_time_total)
        for event in found.key_averages()
        if event.key.startswith("aten::")
    ]
    inside = sum(time for key, time in spent if any(name in key for name in PRODUCTS))
    return inside / sum(time for _, time in spent)


def imported(folder: Path, module: str) -> Any:
    """Return a module of an official repository; ValueError if the clone is missing."""
    if not folder.is_dir():
        raise ValueError(f"{folder} is missing; clone the official repository there.")
    sys.path.insert(0, str(folder))
    return importlib.import_module(module)


def official(checkouts: Path, family: str, side: int, channels: int, of: dict) -> nn.Module:
    """Return the official network of a family with our options."""
    if family == "dit":
        ensure_torchvision()  # timm imports it
        made = imported(checkouts / "DiT", "models").DiT
        return made(side, of["patch"], channels, of["width"], of["depth"], of["heads"], **NO_LABELS)
    if family == "unet":
        made = imported(checkouts / "improved-diffusion", "improved_diffusion.unet").UNetModel
        sizes = channels, of["width"], channels, of["blocks"], of["attention"]
        return made(*sizes, channel_mult=of["multipliers"], num_heads=4, use_scale_shift_norm=True)
    if family == "u-vit":
        made = imported(checkouts / "U-ViT", "libs.uvit").UViT
        return made(side, 2, channels, of["width"], of["depth"], of["heads"], mlp_time_embed=False)
    made = imported(checkouts / "U-DiT", "udit_models").U_DiT
    return made(side, 2, channels, of["width"], [*of["depths"]], of["heads"], **U_DIT, **NO_LABELS)


if __name__ == "__main__":
    main()

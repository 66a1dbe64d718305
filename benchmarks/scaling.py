"""How cost grows: a training step with the image side, a measurement with K, N, d, and the exponent of each.

``python benchmarks/scaling.py --figure docs/img/scaling.png``

The exponent is the slope of log seconds against log size over the upper half of the sizes, where what does not grow
counts least.  ``expected`` is what ``bench plan`` takes: the slope of the multiply-adds that it counts, over the same sizes.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from timing import Table, Work, built, medians, parser

from bench.diffusion.schedule import make_schedule
from bench.metrics.numerics.denoising import psnr_by_step
from bench.metrics.numerics.distances import frechet_distance
from bench.metrics.numerics.machines import LOCAL
from bench.metrics.numerics.neighbours import nearest
from bench.metrics.numerics.spectra import dense_jacobian, leading_spectra, spectra
from bench.models.costs import macs
from bench.models.local_score import PatchScore
from bench.models.machine_costs import machine_macs
from bench.training.loop import Loop
from bench.training.options import TrainingOptions

SIDE, CHANNELS, BATCH, PATCH, NOISES = 16, 1, 8, 5, 10
MAPS = {"eps": (0.0, 1.0)}


class Law(NamedTuple):
    """What grows with what: ``work`` makes the work of one size, ``expected`` the multiply-adds that are counted for it."""

    what: str
    axis: str
    sizes: tuple[int, ...]
    work: Callable[[int], Work]
    expected: Callable[[int], float]


def network(name: str, side: int) -> torch.nn.Module:
    return built(name, side, CHANNELS)


def images(count: int, side: int = SIDE) -> np.ndarray:
    """Return uint8 noise (count, side, side, CHANNELS)."""
    return np.random.default_rng(0).integers(256, size=(count, side, side, CHANNELS), dtype=np.uint8)


def step(name: str) -> Callable[[int], Work]:
    def work(side: int) -> Work:
        options = TrainingOptions(steps=10**6, batch=BATCH)
        data = torch.from_numpy(images(64, side))
        loop = Loop(network(name, side).train(), make_schedule("linear"), data, options, 0)
        loop.every = 10**9
        return loop.advance

    return work


def forwards(name: str, side: int = SIDE) -> float:
    return macs(network(name, side), side, CHANNELS).total


def denoiser(name: str, side: int) -> tuple[Callable[[torch.Tensor], torch.Tensor], torch.Tensor]:
    """Return a network with random weights in all layers (last layers start at zero), and a noisy image."""
    torch.manual_seed(0)
    model = network(name, side).eval().requires_grad_(False)
    for parameter in model.parameters():
        parameter.add_(0.02 * torch.randn_like(parameter))
    return lambda z: model(z, torch.full((len(z),), 500)), torch.randn(1, CHANNELS, side, side)


def leading(name: str, count: int, side: int = SIDE) -> Work:
    function, x = denoiser(name, side)
    return lambda: leading_spectra(function, x, count, MAPS)


def complete(name: str, side: int) -> Work:
    function, x = denoiser(name, side)
    return lambda: spectra(dense_jacobian(function, x), MAPS)


def psnr(name: str, count: int) -> Work:
    model, grid = network(name, SIDE).eval().requires_grad_(False), make_schedule("linear").respace(5)
    x = torch.rand(count, CHANNELS, SIDE, SIDE) * 2 - 1
    return lambda: psnr_by_step([model], grid, [x])


def machine(name: str, count: int, side: int = SIDE, patch: int = PATCH) -> Work:
    schedule = make_schedule("linear")
    score = PatchScore(side, CHANNELS, [patch], LOCAL[name], "centre")
    score.fit(images(count, side), schedule)
    x, t = torch.randn(NOISES, CHANNELS, side, side), torch.full((NOISES,), 500)
    return lambda: score(x, t)


def copies(count: int) -> Work:
    known, drawn = (a.reshape(len(a), -1).astype(np.float32) for a in (images(count), images(256)))
    blocks = [part[None] for part in np.array_split(known, max(1, count // 2048))]
    return lambda: nearest(drawn, blocks)


def frechet(dimensions: int) -> Work:
    rng = np.random.default_rng(0)
    sets = [rng.standard_normal((2 * dimensions, dimensions)) for _ in range(2)]
    given = [value for one in sets for value in (one.mean(0), np.cov(one, rowvar=False))]
    return lambda: frechet_distance(*given)


def laws() -> list[Law]:
    sides = (8, 16, 32, 64)
    steps = [
        Law(
            f"training step, {name}",
            "image side",
            sides,
            step(name),
            lambda side, name=name: forwards(name, side),
        )
        for name in ("unet-t16", "dit-t16", "dit-t16-local")
    ]
    machines = [
        Law(f"{name} machine", axis, sizes, work, expected)
        for name in LOCAL
        for axis, sizes, work, expected in (
            ("N", (30, 100, 300, 1000), lambda n, name=name: machine(name, n), lambda n: n),
            (
                "image side",
                (8, 16, 32),
                lambda side, name=name: machine(name, 30, side),
                lambda side, name=name: machine_macs(name, side, CHANNELS, PATCH, 30),
            ),
            (
                "patch",
                (3, 5, 9, 15),
                lambda patch, name=name: machine(name, 100, SIDE, patch),
                lambda patch, name=name: machine_macs(name, SIDE, CHANNELS, patch, 100),
            ),
        )
    ]
    return [
        *steps,
        Law("leading spectrum, dit-t16", "K", (4, 8, 16, 32), lambda k: leading("dit-t16", k), lambda k: k),
        Law(
            "leading spectrum, dit-t16",
            "image side",
            (8, 16, 32),
            lambda s: leading("dit-t16", 8, s),
            lambda s: forwards("dit-t16", s),
        ),
        Law(
            "complete spectrum, dit-t16",
            "image side",
            (8, 16, 32),
            lambda s: complete("dit-t16", s),
            lambda s: s**2 * forwards("dit-t16", s),
        ),
        Law("PSNR, dit-t16", "images", (30, 100, 300), lambda n: psnr("dit-t16", n), lambda n: n),
        *machines,
        Law("nearest images", "N", (1000, 3000, 10000), copies, lambda n: n),
        Law("Fréchet distance", "dimensions", (128, 256, 512, 1024), frechet, lambda d: d**3),
    ]


def slope(sizes: tuple[int, ...], values: list[float]) -> float:
    """Return the slope of log values against log sizes over the upper half of the sizes."""
    upper = slice(len(sizes) // 2 - 1, None)
    return float(np.polyfit(np.log(sizes[upper]), np.log(values[upper]), 1)[0])


def draw(file: Path, found: list[tuple[Law, list[float]]]) -> None:
    """Draw seconds against size, both logarithmic: the image side on the left, all else on the right."""
    import matplotlib.pyplot as plt

    figure, panels = plt.subplots(1, 2, figsize=(9, 5.2), layout="constrained", sharey=True)
    for law, seconds in found:
        of_side = law.axis == "image side"
        label = f"{law.what} ({'' if of_side else f'{law.axis}, '}exponent {slope(law.sizes, seconds):.1f})"
        panels[0 if of_side else 1].loglog(law.sizes, seconds, marker="o", ms=3, label=label)
    for panel, axis in zip(panels, ("image side (pixels)", "number: N, K, images, dimensions")):
        panel.set_xlabel(axis)
        panel.legend(fontsize=7, loc="upper center", bbox_to_anchor=(0.5, -0.12), frameon=False)
    sides = sorted({size for law, _ in found if law.axis == "image side" for size in law.sizes})
    panels[0].set_xticks(sides, [str(side) for side in sides])
    panels[0].minorticks_off()
    panels[0].set_ylabel("processor time (s)")
    figure.savefig(file, dpi=120)


def main() -> None:
    """Parse the arguments, print the table as it is measured, and draw it."""
    made = parser(__doc__)
    made.add_argument("--figure", type=Path, help="also draw seconds against size into this file")
    made.add_argument("--only", default="", help="only what has this text in its name")
    arguments: argparse.Namespace = made.parse_args()
    table = Table(arguments, ["what", "with", "sizes", "seconds", "exponent", "expected"])
    found = []
    for law in (law for law in laws() if arguments.only in law.what):
        seconds = [medians([law.work(size)], rounds=arguments.rounds)[0] for size in law.sizes]
        found.append((law, seconds))
        listed = ["; ".join(f"{v:.3g}" for v in values) for values in (law.sizes, seconds)]
        expected = slope(law.sizes, [law.expected(size) for size in law.sizes])
        table.add(law.what, law.axis, *listed, slope(law.sizes, seconds), expected)
    if arguments.figure:
        draw(arguments.figure, found)


if __name__ == "__main__":
    main()

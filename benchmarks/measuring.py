"""What PSNR and sampling cost beside the bare forward passes: ``python benchmarks/measuring.py [--models unet-t16]``."""

from __future__ import annotations

import argparse

import torch
from timing import Table, medians, parser, preset

from bench.diffusion.sampling import sample
from bench.diffusion.schedule import Schedule, make_schedule
from bench.metrics.numerics.denoising import BATCH, psnr_by_step

SAMPLES = 64


@torch.no_grad()
def forwards(model: torch.nn.Module, grid: Schedule, images: torch.Tensor) -> None:
    """Pass the images through the network once for each step, in the batches of the measurement."""
    for index in range(len(grid)):
        for rows in images.split(BATCH):
            model(rows, torch.full((len(rows),), int(grid.timesteps[index]), device=rows.device))


def main() -> None:
    """Parse the arguments and print the table."""
    made = parser(__doc__)
    made.add_argument("--models", nargs="+", default=["unet-t16", "dit-t16", "dit-t16-local"])
    made.add_argument("--images", type=int, default=300)
    made.add_argument("--steps", type=int, default=10)
    arguments = made.parse_args()
    columns = ["network", "what", "seconds", "images/s", "beside the forward passes"]
    table = Table(arguments, columns, steps=arguments.steps)
    for name in arguments.models:
        network(table, arguments, name)


def network(table: Table, arguments: argparse.Namespace, name: str) -> None:
    """Add the rows of one network."""
    model, shape = preset(name, arguments.device)
    model.eval().requires_grad_(False)
    grid = make_schedule("linear").respace(arguments.steps)
    images = torch.rand(arguments.images, *shape, device=arguments.device) * 2 - 1
    start = torch.randn(SAMPLES, *shape, device=arguments.device)
    for what, given, work in (
        ("PSNR", images, lambda: psnr_by_step([model], grid, [images])),
        ("DDPM", start, lambda: sample(model, grid, start, "ddpm", lambda _: torch.randn(start.shape))),
        ("DDIM", start, lambda: sample(model, grid, start, "ddim")),
    ):
        works = [lambda given=given: forwards(model, grid, given), work]
        bare, whole = medians(works, arguments.device, arguments.rounds)
        table.add(name, what, whole, len(given) * arguments.steps / whole, f"{whole / bare - 1:+.1%}")


if __name__ == "__main__":
    main()

"""How far does a network look? The patch size whose local score machine matches it best, by noise level.

After Kamb & Ganguli 2025: on the network's own DDIM trajectory the size is taken whose score has the highest cosine
with the network's, the median over starting noises.  Each machine is calibrated separately, so that none is judged with
sizes that suit another; all are fitted to the N images that the network was trained on.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from bench.metrics.declare import Measurement, Result, Row
from bench.models.machine_costs import machines_macs
from bench.support.options import STRICT, check, check_least, option

if TYPE_CHECKING:
    from bench.data.options import DatasetOptions
    from bench.jobs.run import Run
    from bench.suite.options import RunSpec

Machine = Literal["equivariant", "boundary-broken", "local"]


@dataclass(frozen=True)
class PatchSizeOptions:
    """Patch sizes of the local score machines that best match the network (Kamb & Ganguli 2025)."""

    __pydantic_config__ = STRICT

    machines: list[Machine] = option(["equivariant", "boundary-broken", "local"], "what is calibrated")
    sizes: list[int] = option([3, 5, 7, 9, 11, 13, 15], "odd sizes in pixels, ascending")
    noises: int = option(10, "starting noises", least=1)
    steps: int = option(10, "DDIM steps of the network's trajectory", least=1)

    def __post_init__(self) -> None:
        check_least(self)
        odd = all(size % 2 and size > 0 for size in self.sizes) and len(self.sizes) > 0
        check(odd, f"sizes must be odd and positive, not {self.sizes}")
        check(self.sizes == sorted({*self.sizes}), f"sizes must be ascending, not {self.sizes}")
        check(len(self.machines) > 0, "machines must not be empty")


def no_images(options: object, run: RunSpec, datasets: Mapping[str, DatasetOptions]) -> str | None:
    """Return a sentence where the dataset holds vectors, which have no patches."""
    vectors = datasets[run.dataset].resolution == 1
    return (
        f"patch sizes are of images, and {run.dataset} holds vectors; leave patch_size out"
        if vectors
        else None
    )


MEASUREMENT = Measurement(
    "patch_size",
    PatchSizeOptions,
    {
        "patch_size": Row(
            "pixels", "", "size of the patch whose score is most like the network's, at a step"
        ),
        "patch_size_cosine": Row("", "", "cosine of that score with the network's, median over noises"),
    },
    passes=lambda options, run, pixels: options.noises * options.steps,
    macs=lambda options, run, side, channels: machines_macs(
        options.machines,
        options.sizes,
        estimates=options.noises * options.steps,
        known=run.train_size,
        image=(side, channels),
    ),
    problem=no_images,
)


def measure(run: Run, options: PatchSizeOptions) -> Result:
    """Calibrate each machine on the network's trajectory.

    Arrays: ``sizes_MACHINE`` (S,), ``cosines_MACHINE`` (S, sizes, noises), ``sigma`` (S,).
    """
    from bench.metrics.numerics.machines import cosines_by_patch, follow, machine, starts

    grid = run.schedule.respace(options.steps)
    path = follow(run.model, grid, starts(run, options.noises))
    sigma = [grid.sigma(index) for index in range(len(grid))]
    found = Result(arrays={"sigma": np.array(sigma), "steps": np.array(options.steps)})
    for name in options.machines:
        cosines = cosines_by_patch(machine(run, name), grid, path, options.sizes)
        best = np.sort(cosines.argmax(1), axis=1)[:, (options.noises - 1) // 2]  # the lower median is a size
        protocol = f"noises={options.noises};steps={options.steps}"
        for index, place in enumerate(best):
            cosine = np.median(cosines[index, place])
            found.add("patch_size", options.sizes[place], name, "step", index, protocol)
            found.add("patch_size_cosine", cosine, name, "step", index, protocol)
        found.arrays |= {f"sizes_{name}": np.array(options.sizes)[best], f"cosines_{name}": cosines}
    return found

"""Which pixels does a pixel of the x0 estimate depend on, and does that follow the data or the architecture?

The heat map of an output pixel is the mean over noisy images of the absolute gradient of its x0 estimate by the input,
summed over channels (Niedoba et al. 2025, arXiv 2411.19339, Fig. 3); how wide it is, is the side of the square around the
pixel that holds 50, 75 or 95 % of it.  On the Gaussian field and the planted covariance, whose optimal denoisers are
linear, it is compared with the optimum's own.  On the latter also against the optimum of the same field without the
pattern: a network whose maps are closer to the first follows the data (Lukoianov et al. 2025, arXiv 2509.09672).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from bench.metrics.declare import Measurement, NoiseLevels, Result, Row, lacks_images
from bench.support.options import option

if TYPE_CHECKING:
    from bench.data.options import DatasetOptions
    from bench.jobs.run import Run
    from bench.suite.options import RunSpec

SHARES = (50, 75, 95)  # percent; those of bench.metrics.numerics.sensitivity
PASSES = 3  # forward passes that a gradient amounts to


@dataclass(frozen=True)
class SensitivityOptions(NoiseLevels):
    """Heat maps of the gradient of the x0 estimate, their width, and their agreement with the optimum's."""

    images: int = option(16, "test images to average over", "assumed", least=1)
    step_indices: list[int] = option(
        [3, 7, 15, 25, 35], "noise levels, as indices of the PSNR step grid", "assumed"
    )
    pixels: int = option(
        16, "output pixels, evenly spaced; the same number on a planted pattern", "assumed", least=1
    )


def _problem(options: SensitivityOptions, run: RunSpec, datasets: Mapping[str, DatasetOptions]) -> str | None:
    if datasets[run.dataset].resolution < 3:
        return (
            f"sensitivity is of images; {run.dataset} has vectors, leave it out of `measure` of their block"
        )
    return lacks_images("sensitivity.images", options.images, run, datasets)


COSINE = "cosine of the heat maps with those of the optimum"
MEASUREMENT = Measurement(
    "sensitivity",
    SensitivityOptions,
    {
        f"sensitivity_side_{share}": Row("pixels", "", f"side of the square that holds {share} % of the heat map")
        for share in SHARES
    }
    | {
        f"sensitivity_optimum_side_{share}": Row("pixels", "", f"the same of the optimum, {share} %")
        for share in SHARES
    }
    | {
        "sensitivity_optimum_cosine": Row("", "higher", COSINE),
        "sensitivity_planted_cosine": Row("", "higher", f"{COSINE}, at pixels of the pattern"),
        "sensitivity_stationary_cosine": Row("", "", f"{COSINE} for the field without its pattern, at the same"),
        "sensitivity_pattern": Row("", "", "share of the heat map of the pattern's pixels on its far part"),
        "sensitivity_optimum_pattern": Row("", "", "the same of the optimum"),
    },
    passes=lambda options, run, pixels: (
        2 * options.images * options.pixels * len(options.step_indices) * PASSES
    ),
    problem=_problem,
)  # fmt: skip


def measure(run: Run, options: SensitivityOptions) -> Result:
    """Measure the heat maps at each noise level; the index is the step.

    Arrays: ``map_STEP`` (P, H, W) of the evenly spaced ``pixels`` (P, 2), each with sum 1.
    """
    from bench.metrics.numerics import sensitivity as numerics
    from bench.metrics.numerics.denoising import noisy, on_device

    grid, images = run.schedule.respace(options.steps), on_device(run.test_images(options.images), run.device)
    places = numerics.evenly(run.image_size, options.pixels)
    optimum, strokes = numerics.Optimum(run.dataset.manifest["made"]), numerics.strokes(run, options.pixels)
    found = Result(arrays={"pixels": places})
    protocol = f"images={options.images};pixels={len(places)}"
    for step in options.step_indices:
        x_t, t = noisy(images, grid, step, "sensitivity-noise"), int(grid.timesteps[step])
        noise = float(1 - grid.alphas_cumprod[step]) ** 0.5
        maps = numerics.heat_maps(run.model, x_t, t, noise, np.concatenate([places, strokes]))
        own, planted = np.split(maps, [len(places)])
        found.arrays[f"map_{step}"] = own.astype(np.float32)
        for metric, value in numerics.numbers(
            own, planted, places, strokes, optimum, grid.sigma(step)
        ).items():
            found.add(f"sensitivity_{metric}", value, "test", "step", step, protocol)
    return found

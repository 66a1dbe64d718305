"""Do two networks agree that saw disjoint images? After Kadkhodaie et al. 2024, Fig. 2.

Networks that memorise reproduce their own training images; networks that generalise have found the same denoiser.
Half a and half b of a run are compared on the same noisy test images and on samples from the same noise.  The
cosine is that of images with their mean removed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from bench.metrics.declare import Margin, Measurement, Result, Row, lacks_images
from bench.metrics.samples import SamplesOptions
from bench.support.errors import BenchError
from bench.support.options import STRICT, check, option

if TYPE_CHECKING:
    from bench.jobs.run import Run

BATCH = 128
SHOWN = 16  # pairs of samples that are kept
COSINE = Margin(0.01)


@dataclass(frozen=True)
class HalvesOptions:
    """Half b against half a on the same noise (Kadkhodaie et al. 2024, Fig. 2); measured of runs with half: b."""

    __pydantic_config__ = STRICT

    images: int = option(100, "test images on which the outputs are compared")
    steps: int = option(10, "respaced step indices at which the outputs are compared")
    samples: int = option(128, "pairs of samples from the same noise")
    sampler: Literal["ddpm", "ddim"] = option("ddpm", "sampler; its noise is shared too")
    sampling_steps: int = option(250, "sampling steps")

    @property
    def sampling(self) -> SamplesOptions:
        """How both halves' samples are drawn."""
        return SamplesOptions(count=self.samples, sampler=self.sampler, steps=self.sampling_steps)

    def __post_init__(self) -> None:
        for name in ("images", "steps", "sampling_steps"):
            check(getattr(self, name) >= 1, f"{name} must be at least 1, not {getattr(self, name)}")
        check(self.samples >= 2, f"samples must be at least 2, not {self.samples}")


MEASUREMENT = Measurement(
    "halves",
    HalvesOptions,
    {
        "halves_eps_cosine": Row(
            "",
            "higher",
            "cosine of the noise predictions of two networks trained on disjoint halves, at a step index, mean over images",
        ),
        "halves_x0_cosine": Row("", "higher", "the same of their x0 estimates, clipped to the data range"),
        "halves_sample_cosine": Row(
            "", "higher", "cosine of their samples from the same noise, mean over pairs", COSINE
        ),
        "halves_training_cosine": Row(
            "",
            "lower",
            "cosine of each of these samples with the most similar image that its network was trained on, mean",
            COSINE,
        ),
    },
    passes=lambda options, run, pixels: (
        2 * (options.images * options.steps + options.samples * options.sampling_steps)
    ),
    partner=True,
    problem=lambda options, run, datasets: lacks_images("halves.images", options.images, run, datasets),
    applies=lambda run: run.half == "b",
)


def outputs_by_step(first: Run, second: Run, options: HalvesOptions) -> dict[str, np.ndarray]:
    """Return the cosines of noise predictions and of x0 estimates on test images, each (K, S)."""
    import torch

    from bench.metrics.numerics.cosines import cosine
    from bench.metrics.numerics.denoising import noisy, on_device

    images = on_device(first.test_images(options.images), first.device)
    grid = first.schedule.respace(options.steps)
    found = {name: np.empty((len(images), len(grid))) for name in ("eps", "x0")}
    for index in range(len(grid)):
        x_t = noisy(images, grid, index, "psnr-noise")
        for start in range(0, len(images), BATCH):
            rows = slice(start, start + BATCH)
            t = torch.full((len(x_t[rows]),), int(grid.timesteps[index]), device=x_t.device)
            with torch.no_grad():
                eps = [run.model(x_t[rows], t) for run in (first, second)]
            x0 = [grid.x0_from_eps(x_t[rows], index, value, clip=True) for value in eps]
            found["eps"][rows, index], found["x0"][rows, index] = cosine(*eps), cosine(*x0)
    return found


def partner_of(run: Run) -> Run:
    """Return the finished half a of a half b; raises BenchError where the two do not belong together."""
    if run.spec.half != "b":
        raise BenchError(
            f"{run.spec.name} is no half b; halves are measured of the runs of a block with half: b."
        )
    partner = run.reopen(folder=run.folder.parent / run.spec.partner)
    for key in ("dataset", "model", "train_size", "shuffle", "training"):
        if getattr(partner.spec, key) != getattr(run.spec, key):
            raise BenchError(
                f"{partner.folder} and {run.folder} differ in {key}; train both halves with the same options."
            )
    if partner.data_hash != run.data_hash:
        raise BenchError(f"{partner.folder} was trained on other data than {run.folder}; train it again.")
    return partner


def measure(run: Run, options: HalvesOptions) -> Result:
    """Compare half b (``run``) with half a; raises BenchError where half a is missing or differs, or K is too large."""
    import torch

    from bench.metrics.numerics.cosines import cosine, most_similar
    from bench.metrics.numerics.sampling import draw_samples

    partner = partner_of(run)
    found = Result()
    protocol = f"partner={partner.spec.name};images={options.images};steps={options.steps}"
    for name, values in outputs_by_step(partner, run, options).items():
        for index, value in enumerate(values.mean(0)):
            found.add(f"halves_{name}_cosine", value, "test", "step", index, protocol)
        found.arrays[f"{name}_cosine"] = values.astype(np.float32)
    halves = partner, run
    drawn = [draw_samples(half, options.sampling) for half in halves]
    pairs = cosine(*(torch.from_numpy(images) for images in drawn))
    own = [
        most_similar(images, half.train_images(), half.spec.training.flip)
        for images, half in zip(drawn, halves)
    ]
    protocol = f"partner={partner.spec.name};{options.sampling.protocol}"
    found.add("halves_sample_cosine", pairs.mean(), protocol=protocol)
    found.add("halves_training_cosine", np.mean(own), protocol=protocol)
    found.arrays |= {"sample_cosine": pairs, "training_cosine_a": own[0], "training_cosine_b": own[1]}
    found.arrays |= {f"samples_{half}": images[:SHOWN] for half, images in zip("ab", drawn)}
    return found

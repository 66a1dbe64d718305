"""Do two networks trained on disjoint images agree? After Kadkhodaie et al. 2024, Fig. 2.

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
from bench.support.options import STRICT, check_least, option

if TYPE_CHECKING:
    from bench.jobs.run import Run

SHOWN = 16  # pairs of samples that are kept
COSINE = Margin(0.01)


@dataclass(frozen=True)
class HalvesOptions:
    """Half b against half a on the same noise (Kadkhodaie et al. 2024, Fig. 2); for runs with half: b."""

    __pydantic_config__ = STRICT

    images: int = option(100, "test images on which the outputs are compared", least=1)
    steps: int = option(10, "respaced step indices at which the outputs are compared", least=1)
    samples: int = option(128, "pairs of samples from the same noise", least=2, most=10_000_000)
    sampler: Literal["ddpm", "ddim"] = option("ddpm", "sampler; its noise is shared too")
    sampling_steps: int = option(250, "sampling steps", least=1)

    @property
    def sampling(self) -> SamplesOptions:
        """How both halves' samples are drawn."""
        return SamplesOptions(count=self.samples, sampler=self.sampler, steps=self.sampling_steps)

    def __post_init__(self) -> None:
        check_least(self)


EPS = "cosine of both halves' noise predictions at a step index, mean over images"
TRAINING = "cosine of a sample and the most similar image that its network was trained on, mean"
MEASUREMENT = Measurement(
    "halves",
    HalvesOptions,
    {
        "halves_eps_cosine": Row("", "higher", EPS),
        "halves_x0_cosine": Row("", "higher", "the same of their x0 estimates, clipped to the data range"),
        "halves_sample_cosine": Row(
            "", "higher", "cosine of their samples from the same noise, mean", COSINE
        ),
        "halves_training_cosine": Row("", "lower", TRAINING, COSINE),
    },
    passes=lambda options, run, pixels: (
        2 * (options.images * options.steps + options.samples * options.sampling_steps)
    ),
    partner=True,
    problem=lambda options, run, datasets: lacks_images("halves.images", options.images, run, datasets),
    applies=lambda run: run.half == "b",
)


def partner_of(run: Run) -> Run:
    """Return the finished half a of a half b; raises BenchError if the two do not belong together."""
    if run.spec.half != "b":
        raise BenchError(
            f"{run.spec.name} is not a half b; `halves` applies to runs of a block with half: b."
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
    """Compare half b (``run``) with half a; raises BenchError if half a is missing or differs, or K is too large."""
    from bench.metrics.numerics.cosines import cosine, cosines_by_step, most_similar
    from bench.metrics.numerics.denoising import on_device
    from bench.metrics.numerics.sampling import draw_samples

    partner = partner_of(run)
    found = Result()
    images, grid = on_device(run.test_images(options.images), run.device), run.schedule.respace(options.steps)
    protocol = f"partner={partner.spec.name};images={options.images};steps={options.steps}"
    for name, values in cosines_by_step((partner.model, run.model), grid, images).items():
        for index, value in enumerate(values.mean(0)):
            found.add(f"halves_{name}_cosine", value, "test", "step", index, protocol)
        found.arrays[f"{name}_cosine"] = values.astype(np.float32)
    halves = partner, run
    drawn = [draw_samples(half, options.sampling) for half in halves]
    pairs = cosine(*drawn)
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

"""Two clocks of a training: when samples are best, and when copies begin (Bonnaire et al. 2025, arXiv 2505.17638).

At each kept checkpoint the share of copies among samples, their distance from the data, and the loss at one noise level.
A clock is given with an interval; where the training ended before it, there is only a bound (``_after``), never a number.
The distance is the Fréchet distance to test images.  Of vectors, whose exact score is known, it is the divergence
of the learned diffusion from the exact one: half the integral of the squared error of eps over log(snr), in nats, which
bounds the Kullback-Leibler divergence of the samples (Song et al. 2021, arXiv 2101.09258, Theorem 1).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from bench.metrics.declare import Measurement, Result, Row, lacks_images
from bench.support.errors import BenchError
from bench.support.options import STRICT, check, check_least, option

if TYPE_CHECKING:
    from bench.data.options import DatasetOptions
    from bench.jobs.run import Run
    from bench.metrics.numerics.clock_times import Clock
    from bench.suite.options import RunSpec

FEWEST = 4  # checkpoints


@dataclass(frozen=True)
class ClocksOptions:
    """Copies, distance and loss at the kept checkpoints; when samples are best, when copies begin."""

    __pydantic_config__ = STRICT

    count: int = option(512, "samples per checkpoint (ddim)", "assumed", least=8, most=10_000_000)
    steps: int = option(50, "sampling steps", "assumed", least=1)
    ratio: float = option(
        1 / 3,
        "a sample is a copy if its nearest training image is closer than this fraction of the distance to the second",
        "paper",
    )
    onset: float = option(
        0.05, "share of copies, in excess of that among test images, at which copies begin", "assumed"
    )
    features: Literal["random-conv", "pixels", "inception"] = option(
        "random-conv", "feature space of the Fréchet distance; vectors use the divergence instead", "assumed"
    )
    images: int = option(
        500, "test images for the loss, for the divergence, and for the share of copies by chance", least=8
    )
    timestep: int = option(10, "timestep of the loss", "paper", least=0)

    def __post_init__(self) -> None:
        check_least(self)
        for name in ("ratio", "onset"):
            check(0 < getattr(self, name) < 1, f"{name} must lie between 0 and 1, not {getattr(self, name)}")

    def passes(self, run: RunSpec) -> float:
        """Return how many images pass the network."""
        return (self.count * self.steps + 2 * self.images) * len(run.training.kept)


def _problem(options: ClocksOptions, run: RunSpec, datasets: Mapping[str, DatasetOptions]) -> str | None:
    if len(run.training.kept) < FEWEST:
        return f"clocks needs at least {FEWEST} checkpoints; set training.checkpoints to their number"
    if options.timestep >= run.training.timesteps:
        return f"clocks.timestep must lie in 0..timesteps - 1 ({run.training.timesteps - 1}), not {options.timestep}"
    return lacks_images("clocks.images", options.images, run, datasets)


def _clock_rows(name: str, what: str) -> dict[str, Row]:
    return {
        f"{name}_step": Row("steps", "", f"training step at which {what}"),
        f"{name}_step_low": Row("steps", "", f"lower end of the 95 % interval of {name}_step"),
        f"{name}_step_high": Row("steps", "", f"upper end of the 95 % interval of {name}_step"),
        f"{name}_step_after": Row("steps", "", f"bound, given instead: {what} later than this, if ever"),
    }


MEASUREMENT = Measurement(
    "clocks",
    ClocksOptions,
    {
        "clocks_copies": Row("", "lower", "share of copies among samples at a training step"),
        "clocks_chance": Row("", "", "share of test images that look like copies"),
        "clocks_distance": Row("", "lower", "distance of samples from the data at a training step"),
        "clocks_loss": Row("", "lower", "squared error of eps at one timestep and a training step"),
        **_clock_rows("generalization", "samples are nearest to the data"),
        **_clock_rows("memorization", "copies begin"),
        "memorization_step_per_image": Row(
            "steps", "", "memorization_step over the number of training images"
        ),
    },
    passes=lambda options, run, pixels: options.passes(run),
    problem=_problem,
    applies=lambda run: run.train_size > 1,  # else there is no second nearest
)


def measure(run: Run, options: ClocksOptions) -> Result:
    """Measure each kept checkpoint, then read both clocks; a control gives no rows.

    Arrays: ``steps`` (S,), ``copies`` (S, count) whether each sample is one, ``distance`` (S,).  Raises BenchError where a
    checkpoint is missing.
    """
    from bench.metrics.numerics import clock_times
    from bench.metrics.numerics.checkpoints import Stages

    found = Result()
    if not run.record["snapshots"]:
        return found
    steps = np.array(sorted(run.record["snapshots"]))
    stages = Stages(run, options)
    seen = [stages.at(_at(run, int(step))) for step in steps]
    copies, chance = np.stack([one.copies for one in seen]), float(stages.chance.mean())
    distance, resampled = stages.distances([one.units for one in seen])
    found.arrays |= {"steps": steps, "copies": copies, "distance": distance}
    sampling = f"samples={options.count};sampler=ddim;steps={options.steps}"
    criterion = f"{sampling};ratio={options.ratio:.4g}"
    for place, (step, one) in enumerate(zip(steps, seen, strict=True)):
        at = ("training_step", int(step))
        found.add("clocks_copies", copies[place].mean(), "", *at, criterion)
        found.add("clocks_distance", distance[place], "test", *at, f"{stages.name};{sampling}")
        for split, loss in one.losses.items():
            found.add("clocks_loss", loss, split, *at, f"images={options.images};t={options.timestep}")
    found.add("clocks_chance", chance, "test", protocol=f"images={options.images};ratio={options.ratio:.4g}")
    onset = f"{criterion};onset={options.onset:g}"
    begins = clock_times.crossing(steps, copies, chance + options.onset)
    _add(found, "memorization", begins, onset)
    if begins.step is not None:
        found.add("memorization_step_per_image", begins.step / run.spec.train_size, protocol=onset)
    _add(found, "generalization", clock_times.lowest(steps, distance, resampled), f"{stages.name};{sampling}")
    return found


def _add(found: Result, name: str, clock: Clock, protocol: str) -> None:
    """Add a clock with its interval, or the bound where the training ended before it."""
    if clock.step is None:
        found.add(f"{name}_step_after", clock.low, protocol=protocol)
        return
    for suffix, value in (("", clock.step), ("_low", clock.low), ("_high", clock.high)):
        found.add(f"{name}_step{suffix}", value, protocol=protocol)  # type: ignore[arg-type]


def _at(run: Run, step: int) -> Run:
    """Return the run with its weights at a checkpoint."""
    file = run.folder / "snapshots" / f"step{step:08d}.safetensors"
    if not file.exists():
        raise BenchError(f"{file} is missing; delete {run.folder / 'run.json'} and train the run again.")
    return run.reopen(weights=file)

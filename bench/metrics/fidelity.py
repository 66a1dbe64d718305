"""Samples against a pool beyond one distance: precision, recall, density, coverage, and a Fréchet distance without bias.

The Fréchet distance of n samples is too large by about C / n.  ``fd_infinity`` is its limit, from a line through the
distances of growing numbers of samples over 1 / n (Chong & Forsyth 2020, section 4).  With ``seeds`` above 1 as many
more sets of samples are drawn from other noise, and every number is given for each of them.  With ``best`` all of this
is also given for the kept checkpoint of the highest validation PSNR, from the same noise; its protocol names the step.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from bench.metrics import psnr
from bench.metrics.along import _at
from bench.metrics.declare import Measurement, Result, Row
from bench.metrics.psnr import PsnrOptions
from bench.support.options import STRICT, check, check_least, option

if TYPE_CHECKING:
    from bench.data.options import DatasetOptions
    from bench.jobs.run import Run
    from bench.metrics.numerics.features import Space
    from bench.metrics.samples import SamplesOptions
    from bench.suite.options import RunSpec

PLACED = ("dinov2", "sscd")  # a person places their networks
SIZES = 15  # numbers of samples, from half of them to all, behind fd_infinity


@dataclass(frozen=True)
class FidelityOptions:
    """Precision, recall, density, coverage and unbiased Fréchet distance of the samples in a named feature space."""

    __pydantic_config__ = STRICT

    features: Literal["random-conv", "pixels", "inception", "dinov2", "sscd"] = option(
        "inception", "feature space"
    )
    sha256: str | None = option(None, "sha256 of the weights file for dinov2 or sscd, 64 hex digits")
    pool: Literal["train", "test"] = option("train", "pool that the samples are compared with")
    reference: int = option(10_000, "reference images from that pool, at most", least=2)
    neighbours: int = option(5, "k of the balls around images and samples", least=1)
    seeds: int = option(1, "sets of samples; the other measurements use the first", least=1)
    best: PsnrOptions | None = option(
        None, "also the checkpoint with the highest validation PSNR, measured with these options"
    )

    def __post_init__(self) -> None:
        check_least(self)
        check(
            (self.features in PLACED) == (self.sha256 is not None),
            f"features {' and '.join(PLACED)} go with the sha256 of their file, other features without",
        )
        sound = self.sha256 is None or (
            len(self.sha256) == 64 and set(self.sha256) <= set("0123456789abcdef")
        )
        check(sound, f"sha256 must be 64 hex digits in lower case, not {self.sha256!r}")


def _problem(options: FidelityOptions, run: RunSpec, datasets: Mapping[str, DatasetOptions]) -> str | None:
    pool = getattr(datasets[run.dataset], options.pool) or math.inf
    count = min(pool, options.reference, run.measure.samples.count)
    if count <= options.neighbours:
        return f"fidelity.neighbours is {options.neighbours}, of {count} images or samples; lower it"
    if options.best is None:
        return None
    if not run.training.kept:
        return "fidelity.best needs checkpoints; set training.checkpoints to their number"
    if run.measure.samples.weights != "ema":
        return "fidelity.best needs samples.weights: ema, since checkpoints are averaged weights"
    if datasets[run.dataset].validation == 0:
        return f"fidelity.best needs validation images, and {run.dataset} has none; leave it out"
    return psnr.MEASUREMENT.problem(options.best, run, datasets)


def _passes(options: FidelityOptions, run: RunSpec) -> float:
    sets = (options.seeds > 1) * options.seeds
    chosen = 0.0
    if options.best is not None:
        sets += options.seeds
        chosen = options.best.passes(run.training.timesteps) / 3 * (len(run.training.kept) + 1)
    return sets * run.measure.samples.count * run.measure.samples.steps + chosen


SETS = "of the samples of one seed"
MEASUREMENT = Measurement(
    "fidelity",
    FidelityOptions,
    {
        "fidelity_frechet": Row("", "lower", f"Fréchet distance {SETS} to a pool"),
        "fd_infinity": Row(
            "", "lower", f"Fréchet distance {SETS} to a pool, extrapolated to infinitely many"
        ),
        "precision": Row("", "higher", f"share {SETS} inside a ball of a real image"),
        "recall": Row("", "higher", f"share of real images inside a ball {SETS}"),
        "density": Row("", "higher", f"mean number of balls of real images around a sample over k, {SETS}"),
        "coverage": Row("", "higher", f"share of real images whose ball holds one {SETS}"),
        "fidelity_spread": Row("", "", "standard deviation of fidelity_frechet over sample seeds"),
    },
    needs=("samples",),
    passes=lambda options, run, pixels: _passes(options, run),
    problem=_problem,
)


def measure(run: Run, options: FidelityOptions, samples: Result) -> Result:
    """Compare each set of samples with the pool; the index is the sample seed, 0 for those of `samples`."""
    from bench.metrics.numerics.features import features
    from bench.metrics.numerics.sampling import draw_samples

    space, images = _space(run, options), reference_images(run, options.pool, options.reference)
    real, sets = features(images, space), _sets(run, options, samples)
    about = f"features={space.name};{samples.arrays['protocol']};reference={options.pool}:{len(real)}"
    found = Result()
    _add(found, real, [features(drawn, space) for drawn in sets], options, about, run.device)
    if options.best is not None and run.record["snapshots"]:
        step, best = best_checkpoint(run, options.best)
        if best is not run:
            sets = np.split(draw_samples(best, _drawing(options, samples)), options.seeds)
        about = f"{about};best_of={options.best.images};training_step={step}"
        _add(found, real, [features(drawn, space) for drawn in sets], options, about, run.device)
    return found


def _add(
    found: Result, real: np.ndarray, sets: list[np.ndarray], options: FidelityOptions, about: str, device: str
) -> None:
    """Add the rows of all sets of samples of one checkpoint, given as features."""
    distances = []
    for seed, drawn in enumerate(sets):
        values = compare(real, drawn, options.neighbours, device)
        distances.append(values["fidelity_frechet"])
        for metric, value in values.items():
            balls = metric in ("precision", "recall", "density", "coverage")
            protocol = f"{about};neighbours={options.neighbours}" if balls else about
            found.add(metric, value, "", "sample_seed", seed, protocol)
    if options.seeds > 1:
        found.add("fidelity_spread", np.std(distances, ddof=1), protocol=f"{about};seeds={options.seeds}")


def best_checkpoint(run: Run, options: PsnrOptions) -> tuple[int, Run]:
    """Return the step of the highest mean validation PSNR among the kept checkpoints and the end, and the run there."""
    from bench.metrics.numerics.denoising import on_device, psnr_by_step

    images = on_device(run.validation_images(options.images), run.device)
    grid, end = psnr.grid_of(run, options), run.spec.training.steps
    stages = {step: _at(run, step) for step in run.record["snapshots"] if step != end} | {end: run}
    means = {
        step: psnr_by_step([one.model], grid, [images], [options.clip]).mean() for step, one in stages.items()
    }
    best = max(means, key=lambda step: means[step])
    return best, stages[best]


def compare(real: np.ndarray, drawn: np.ndarray, neighbours: int, device: str = "cpu") -> dict[str, float]:
    """Return every number of features of samples (m, d) against real ones (n, d), float64."""
    from bench.metrics.numerics.manifold import manifold

    curve = frechet_curve(real, drawn)
    limit = np.polyfit([1 / n for n in curve], list(curve.values()), 1)[1]
    return {
        "fidelity_frechet": curve[len(drawn)],
        "fd_infinity": float(limit),
        **manifold(real, drawn, neighbours, device)._asdict(),
    }


def frechet_curve(real: np.ndarray, drawn: np.ndarray) -> dict[int, float]:
    """Return the Fréchet distance by number of samples, from half of them to all, each a random choice."""
    from bench.metrics.numerics.distances import frechet_distance
    from bench.support.randomness import numpy_generator

    mean, covariance = real.mean(0), np.atleast_2d(np.cov(real, rowvar=False))
    counts = np.unique(np.linspace(max(2, len(drawn) // 2), len(drawn), SIZES).astype(int))
    found = {}
    for count in counts.tolist():
        part = drawn[np.sort(numpy_generator(count, "fd-infinity").permutation(len(drawn))[:count])]
        own = np.atleast_2d(np.cov(part, rowvar=False))
        found[count] = frechet_distance(part.mean(0), own, mean, covariance)
    return found


def _space(run: Run, options: FidelityOptions) -> Space:
    from bench.metrics.numerics.features import open_space
    from bench.metrics.numerics.placed import open_placed

    if options.sha256 is not None:
        return open_placed(options.features, options.sha256, run.device)
    return open_space(options.features, run.channels, run.device)


def reference_images(run: Run, pool: str, count: int) -> np.ndarray:
    """Return at most ``count`` images of a pool, drawn at random where it holds more: names often sort by class."""
    from bench.support.randomness import numpy_generator

    images = getattr(run.dataset, pool)
    if len(images) <= count:
        return images[:]
    return images[np.sort(numpy_generator(0, "reference").permutation(len(images))[:count])]


def _sets(run: Run, options: FidelityOptions, samples: Result) -> list[np.ndarray]:
    """Return the samples of each seed: those of `samples`, then as many of the noise that follows theirs."""
    from bench.metrics.numerics.sampling import draw_samples

    first = samples.arrays["samples"]
    if options.seeds == 1:
        return [first]
    return [first, *np.split(draw_samples(run, _drawing(options, samples)), options.seeds)[1:]]


def _drawing(options: FidelityOptions, samples: Result) -> SamplesOptions:
    """Return how `samples` were drawn, for all seeds together."""
    from bench.metrics.samples import SamplesOptions

    said = dict(part.split("=") for part in str(samples.arrays["protocol"]).split(";"))
    count, steps = len(samples.arrays["samples"]) * options.seeds, int(said["steps"])
    more = {
        "eta": float(said.get("eta", 0)),
        "variance": said.get("variance", "small"),
        "weights": said["weights"],
    }
    return SamplesOptions(count, said["sampler"], steps=steps, **more)  # type: ignore[arg-type]

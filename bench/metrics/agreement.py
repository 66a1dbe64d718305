"""Is a network the denoiser that a theory predicts? Its outputs against closed forms of its own training images.

After Kamb & Ganguli 2025.  From the same noise the network and a machine, fitted to the same N images, are followed by
DDIM: their samples are compared, and at each step of the network's trajectory their estimates of x0.  Every number is
the median over starting noises; a row's split names the machine.  What Kamb & Ganguli call r2 is the correlation, not
its square; R2 is reported, too.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from bench.metrics.declare import Measurement, Result, Row
from bench.metrics.patch_size import no_images
from bench.models.families import CONTROLS
from bench.models.machine_costs import machines_macs
from bench.support.options import STRICT, check, check_least, option

if TYPE_CHECKING:
    from bench.data.options import DatasetOptions
    from bench.jobs.run import Run
    from bench.suite.options import RunSpec

Machine = Literal["equivariant", "boundary-broken", "local", "ideal", "linear"]
ALL = ["equivariant", "boundary-broken", "local", "ideal", "linear"]
UNCALIBRATED = ("ideal", "linear")
SHOWN = 8  # samples that are kept


@dataclass(frozen=True)
class AgreementOptions:
    """A network against closed forms of its own images, from the same noise (Kamb & Ganguli 2025)."""

    __pydantic_config__ = STRICT

    machines: list[Machine] = option(ALL, "closed forms; their patch sizes come from patch_size")
    noises: int = option(20, "starting noises", least=1)
    steps: int = option(10, "DDIM steps, the same as in patch_size", least=1)

    def __post_init__(self) -> None:
        check_least(self)
        check(len(self.machines) > 0, "machines must not be empty")


def problem(options: AgreementOptions, run: RunSpec, datasets: Mapping[str, DatasetOptions]) -> str | None:
    """Return a sentence where the calibration is of another trajectory, or of other machines."""
    sizes = run.measure.patch_size
    if options.steps != sizes.steps:
        return (
            f"agreement.steps is {options.steps}, patch_size.steps {sizes.steps}: both follow one trajectory; "
            "give them the same number"
        )
    lacking = [name for name in options.machines if name not in (*sizes.machines, *UNCALIBRATED)]
    if lacking:
        return f"agreement asks for the machine {lacking[0]}, whose patches patch_size does not find; add it there"
    if run.training.flip and run.model.family not in CONTROLS:
        return "agreement needs training.flip: false: the machines see no mirrored images"
    return no_images(options, run, datasets)


OF_SAMPLES = "of a sample of the network and a machine's from the same noise"
MEASUREMENT = Measurement(
    "agreement",
    AgreementOptions,
    {
        "agreement_correlation": Row("", "", "correlation of both x0 estimates' pixels, at a step"),
        "agreement_r2": Row("", "", "1 - squared error / variance of the network's estimate, at a step"),
        "agreement_mse": Row("", "", "mean squared error of the estimates, range [-1, 1], at a step"),
        "agreement_sample_correlation": Row("", "", f"correlation {OF_SAMPLES}"),
        "agreement_sample_r2": Row("", "", f"1 - squared error / variance {OF_SAMPLES}"),
        "agreement_sample_mse": Row("", "", f"mean squared error {OF_SAMPLES}, range [-1, 1]"),
        "agreement_beats_ideal": Row(
            "", "", "share of samples nearer to the machine's than to the ideal one's"
        ),
    },
    needs=("patch_size",),
    passes=lambda options, run, pixels: options.noises * options.steps,
    # each machine on the network's trajectory and on its own, with patches of about the middle size
    macs=lambda options, run, side, channels: machines_macs(
        options.machines,
        [statistics.median_high(run.measure.patch_size.sizes)],
        estimates=2 * options.noises * options.steps,
        known=run.train_size,
        image=(side, channels),
    ),
    problem=problem,
)


def measure(run: Run, options: AgreementOptions, patch_size: Result) -> Result:
    """Compare the network with each machine, patches as calibrated.

    Arrays: ``correlation_MACHINE`` (S, noises), ``sample_correlation_MACHINE`` (noises,), ``sigma`` (S,), and a few
    ``samples_MACHINE`` beside ``samples_network``, uint8.
    """
    from bench.data.pixels import to_uint8
    from bench.metrics.numerics.machines import agreement_by_step, alike, follow, machine, starts

    grid, start = run.schedule.respace(options.steps), starts(run, options.noises)
    path = follow(run.model, grid, start)
    protocol = f"noises={options.noises};steps={options.steps};sampler=ddim"
    found, correlations = Result(arrays={"sigma": patch_size.arrays["sigma"]}), {}
    found.arrays["samples_network"] = to_uint8(path.end[:SHOWN].cpu()).numpy()
    for name in options.machines:
        model = machine(run, name, patch_size.arrays.get(f"sizes_{name}", ()))
        by_step, end = agreement_by_step(model, grid, path), follow(model, grid, start).end
        for measured, values in by_step.items():
            for index, value in enumerate(np.median(values, axis=1)):
                found.add(f"agreement_{measured}", value, name, "step", index, protocol)
        for measured, values in (of_samples := alike(path.end, end)).items():
            found.add(f"agreement_sample_{measured}", np.median(values), name, protocol=protocol)
        correlations[name] = found.arrays[f"sample_correlation_{name}"] = of_samples["correlation"]
        found.arrays[f"correlation_{name}"] = by_step["correlation"]
        found.arrays[f"samples_{name}"] = to_uint8(end[:SHOWN].cpu()).numpy()
    for name in [n for n in correlations if n != "ideal" and "ideal" in correlations]:
        share = (correlations[name] > correlations["ideal"]).mean()
        found.add("agreement_beats_ideal", share, name, protocol=protocol)
    return found

"""Measure a run: one metric alone, or all that its suite asks for in one process."""

from __future__ import annotations

from bench.data.dataset import open_dataset
from bench.jobs.run import Run
from bench.metrics.features import open_space
from bench.metrics.measure import measure_run
from bench.metrics.reference import reference_statistics
from bench.metrics.samples import write_samples
from bench.suite.plan import Plan
from bench.support import paths
from bench.support.console import say
from bench.support.files import save_arrays


def measure_all(suite: Plan, name: str, device: str) -> None:
    """Measure all that a suite asks of a run, samples and reference statistics included, in this process."""
    measure(suite, name, [*suite.metrics(name), "cost"], device, draw=True)


def measure(suite: Plan, name: str, metrics: list[str], device: str, draw: bool = False) -> None:
    """Measure ``metrics`` of a run into METRIC.csv and METRIC.npz of its folder; ``draw`` makes their inputs too."""
    spec = suite.run(name)
    run = Run(paths.run_folder(spec.suite, name), device)  # loaded once for all metrics
    if draw and (options := spec.measure.frechet) is not None:
        write_samples(run, options)
        if not paths.reference_file(spec.dataset, options.space, options.pool, options.reference).exists():
            write_reference(spec.dataset, options.space, options.pool, options.reference, device)
    for metric in metrics:
        say(f"{name}: {metric}")
        measure_run(metric, run, spec, suite.codes(metric, name))


def write_reference(name: str, features: str, pool: str, count: int | None, device: str) -> None:
    """Write the reference statistics of a dataset's pool, over ``count`` images or all (None)."""
    dataset = open_dataset(paths.dataset_folder(name))
    space = open_space(features, dataset.manifest["channels"], device)
    out = paths.reference_file(name, features, pool, count)
    save_arrays(out, **reference_statistics(dataset, space, pool, count))

"""The verbs that measure: samples, reference statistics, a metric of a run. Heavy imports stay inside the verbs."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from bench.cli import expected_code
from bench.cli.arguments import add_device, add_run, torch_device
from bench.suite.options import METRICS
from bench.support import paths
from bench.support.console import say
from bench.support.errors import BenchError, nearest

if TYPE_CHECKING:
    from bench.suite.plan import Plan


def configure_measure(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``bench measure``."""
    known = ", ".join((*METRICS, "cost"))
    parser.add_argument("metric", metavar="METRIC", help=f"one of {known}; or all, in one process")
    add_run(parser)
    add_device(parser)
    expected_code.add_option(parser)
    parser.set_defaults(run=measure)


def measure(arguments: argparse.Namespace) -> None:
    """Measure one metric of one run into METRIC.csv and METRIC.npz of its folder, or all of its suite."""
    from bench.suite import plan

    known = (*METRICS, "cost", "all")
    if arguments.metric not in known:
        raise BenchError(
            f"There is no metric {arguments.metric!r}{nearest(arguments.metric, known)}; known: {', '.join(known)}."
        )
    suite = plan.load(arguments.suite)
    spec = suite.run(arguments.name)
    metrics = [*suite.metrics(spec.name), "cost"] if arguments.metric == "all" else [arguments.metric]
    if arguments.metric != "all":
        expected_code.check(arguments, suite.code(arguments.metric, spec.name))
    device = torch_device(arguments.device, spec.training.threads)
    if arguments.metric == "all":
        measure_all(suite, spec.name, device)
    else:
        _measure(suite, spec.name, metrics, device)


def measure_all(suite: Plan, name: str, device: str) -> None:
    """Measure all that a suite asks of a run, samples and reference statistics included, in this process."""
    _measure(suite, name, [*suite.metrics(name), "cost"], device, draw=True)


def _measure(suite: Plan, name: str, metrics: list[str], device: str, draw: bool = False) -> None:
    from bench.jobs.run import Run
    from bench.metrics.measure import measure_run
    from bench.metrics.samples import write_samples

    spec = suite.run(name)
    run = Run(paths.run_folder(spec.suite, name), device)  # loaded once for all metrics
    if draw and (options := spec.measure.frechet) is not None:
        write_samples(run, options)
        if not paths.reference_file(spec.dataset, options.space, options.pool, options.reference).exists():
            _write_reference(spec.dataset, options.space, options.pool, options.reference, device)
    for metric in metrics:
        say(f"{name}: {metric}")
        measure_run(metric, run, spec, suite.codes(metric, name))


def configure_samples(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``bench samples``."""
    add_run(parser)
    add_device(parser)
    expected_code.add_option(parser)
    parser.set_defaults(run=samples)


def samples(arguments: argparse.Namespace) -> None:
    """Draw the samples that a run is measured by into samples.npz."""
    from bench.suite import plan

    suite = plan.load(arguments.suite)
    spec = suite.run(arguments.name)
    expected_code.check(arguments, suite.code("samples", spec.name))
    if spec.measure.frechet is None:
        raise BenchError(
            f"Suite {arguments.suite!r} measures no frechet of {spec.name}; add it under `measure`."
        )
    device = torch_device(arguments.device, spec.training.threads)
    from bench.jobs.run import Run
    from bench.metrics.samples import write_samples

    write_samples(Run(paths.run_folder(spec.suite, spec.name), device), spec.measure.frechet)


def configure_sample(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``bench sample``."""
    add_run(parser)
    add_device(parser)
    parser.add_argument("--count", type=int, default=64, help="images (default: 64)")
    parser.add_argument("--sampler", choices=("ddpm", "ddim"), default="ddpm")
    parser.add_argument("--steps", type=int, default=50, help="sampling steps (default: 50)")
    parser.add_argument("--out", type=Path, help="file stem; default RUN_FOLDER/sample")
    parser.set_defaults(run=sample)


def sample(arguments: argparse.Namespace) -> None:
    """Draw samples of a trained run into OUT.npz and a grid OUT.png."""
    from bench.metrics.options import FrechetOptions
    from bench.suite import plan

    spec = plan.load(arguments.suite).run(arguments.name)
    device = torch_device(arguments.device, spec.training.threads)
    from bench.data.sheet import save_sheet
    from bench.jobs.run import Run
    from bench.metrics.samples import draw_samples
    from bench.support.files import save_arrays

    run = Run(paths.run_folder(spec.suite, spec.name), device)
    options = FrechetOptions(samples=arguments.count, sampler=arguments.sampler, steps=arguments.steps)
    stem = arguments.out or run.folder / "sample"
    images = draw_samples(run, options)
    save_arrays(f"{stem}.npz", samples=images)
    save_sheet(f"{stem}.png", images)
    say(f"{arguments.count} samples in {stem}.npz, a grid in {stem}.png")


def configure_reference(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``bench reference``."""
    parser.add_argument("dataset", help="converted dataset, as `bench data list` shows it")
    parser.add_argument("--features", default="random-conv", help="feature space (default: random-conv)")
    parser.add_argument("--pool", choices=("train", "test"), default="train")
    parser.add_argument("--count", type=int, help="images of the pool (default: all)")
    add_device(parser)
    expected_code.add_option(parser)
    parser.set_defaults(run=reference)


def reference(arguments: argparse.Namespace) -> None:
    """Compute the reference statistics of a dataset."""
    from bench.suite import plan
    from bench.suite.fingerprint import fingerprint

    expected_code.check(arguments, fingerprint(*plan.entries("reference")))
    device = torch_device(arguments.device, 1)
    _write_reference(arguments.dataset, arguments.features, arguments.pool, arguments.count, device)


def _write_reference(name: str, features: str, pool: str, count: int | None, device: str) -> None:
    from bench.data.dataset import open_dataset
    from bench.metrics.features import open_space
    from bench.metrics.reference import reference_statistics
    from bench.support.files import save_arrays

    dataset = open_dataset(paths.dataset_folder(name))
    space = open_space(features, dataset.manifest["channels"], device)
    out = paths.reference_file(name, features, pool, count)
    save_arrays(out, **reference_statistics(dataset, space, pool, count))


def configure_classifier(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``bench classifier``."""
    parser.add_argument("dataset", help="converted dataset with labels")
    add_device(parser)
    expected_code.add_option(parser)
    parser.set_defaults(run=classifier)


def classifier(arguments: argparse.Namespace) -> None:
    """Train the small classifier of a labelled dataset, whose features are a space for distances."""
    from bench.suite import plan
    from bench.suite.fingerprint import fingerprint

    expected_code.check(arguments, fingerprint(*plan.entries("classifier")))
    device = torch_device(arguments.device, 1)
    from bench.data.dataset import open_dataset
    from bench.metrics.classifier import train_classifier

    dataset = open_dataset(paths.dataset_folder(arguments.dataset))
    found = train_classifier(dataset, paths.classifier_file(arguments.dataset), device)
    say(f"classifier of {arguments.dataset}: {found:.1%} of the test images are classified rightly")


VERBS: dict[str, Callable[[argparse.ArgumentParser], None]] = {
    "measure": configure_measure,
    "samples": configure_samples,
    "sample": configure_sample,
    "reference": configure_reference,
    "classifier": configure_classifier,
}

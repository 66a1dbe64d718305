"""One run, from training to its rows of the tidy table: ``bench train``, ``measure``, ``sample`` and more."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Annotated, Literal

import typer

from bench.cli.arguments import Dataset, Device, ExpectCode, Run, Suite
from bench.support import paths
from bench.support.console import say
from bench.support.devices import torch_device
from bench.support.errors import BenchError, nearest
from bench.support.expected_code import check as check_code

verbs = typer.Typer()
command = functools.partial(verbs.command, rich_help_panel="Runs")


@command()
def train(
    run: Run,
    suite: Suite = "demo",
    device: Device = None,
    checkpoint: Annotated[
        Path | None, typer.Option(help="Start from this checkpoint; refused if it is another run's.")
    ] = None,
    checkpoint_seconds: Annotated[float, typer.Option(help="Time between checkpoints.")] = 60,
    stall_seconds: Annotated[
        float, typer.Option(help="End where one step takes longer, to be tried again; 0: never.")
    ] = 1800,
    expect_code: ExpectCode = None,
) -> int:
    """Train a run, or resume it."""
    from bench.suite import plan
    from bench.support.fingerprint import definitions

    loaded = plan.load(suite)
    spec = loaded.run(run)
    device = torch_device(device, spec.training.threads)
    from bench.training.train import INTERRUPTED, Interrupted
    from bench.training.train import train as train_run

    code = {
        "fingerprint": loaded.code("train", run),
        "definitions": definitions(*plan.entries("train", spec.model)),
    }
    check_code(expect_code, code["fingerprint"])
    try:
        train_run(
            spec,
            paths.dataset_folder(spec.dataset),
            paths.subset_file(spec.dataset, spec.shuffle),
            paths.run_folder(suite, run),
            paths.state_root(suite, run),
            device=device,
            code=code,
            checkpoint=checkpoint,
            checkpoint_seconds=checkpoint_seconds,
            stall_seconds=stall_seconds,
        )
    except Interrupted as interrupted:
        say(f"bench: {interrupted}")
        return INTERRUPTED
    return 0


@command()
def measure(
    metric: Annotated[str, typer.Argument(metavar="METRIC", help="A measurement, or `all` of the suite's.")],
    run: Run,
    suite: Suite = "demo",
    device: Device = None,
    expect_code: ExpectCode = None,
) -> None:
    """Measure a run, one metric alone or all in one process."""
    from bench.metrics.declare import measurements
    from bench.suite import plan

    known = (*measurements(), "all")
    if metric not in known:
        raise BenchError(f"There is no metric {metric!r}{nearest(metric, known)}; known: {', '.join(known)}.")
    loaded = plan.load(suite)
    spec = loaded.run(run)
    if metric != "all":
        check_code(expect_code, loaded.code(metric, run))
    device = torch_device(device, spec.training.threads)
    from bench.jobs import measure

    if metric == "all":
        measure.measure_all(loaded, run, device)
    else:
        measure.measure(loaded, run, [metric], device)


@command()
def samples(run: Run, suite: Suite = "demo", device: Device = None, expect_code: ExpectCode = None) -> None:
    """Draw the samples whose Fréchet distance is taken."""
    from bench.suite import plan

    loaded = plan.load(suite)
    spec = loaded.run(run)
    check_code(expect_code, loaded.code("samples", run))
    if spec.measure.samples is None:
        raise BenchError(f"Suite {suite!r} draws no samples of {run}; add `samples` under `measure`.")
    device = torch_device(device, spec.training.threads)
    from bench.jobs.measure import measure

    measure(loaded, run, ["samples"], device)


@command()
def sample(
    run: Run,
    suite: Suite = "demo",
    device: Device = None,
    count: Annotated[int, typer.Option(help="Number of images.", min=1)] = 64,
    sampler: Literal["ddpm", "ddim"] = "ddpm",
    steps: Annotated[int, typer.Option(help="Sampling steps.", min=2)] = 50,
    out: Annotated[Path | None, typer.Option(help="File stem.", show_default="RUN_FOLDER/sample")] = None,
) -> None:
    """Draw images from a trained run into an array and a picture."""
    from bench.suite import plan

    spec = plan.load(suite).run(run)
    device = torch_device(device, spec.training.threads)
    from bench.data.sheet import save_sheet
    from bench.jobs.run import Run
    from bench.metrics.numerics.sampling import draw_samples
    from bench.metrics.samples import SamplesOptions
    from bench.support.arrays import save_arrays

    trained = Run(paths.run_folder(suite, run), device)
    stem = out or trained.folder / "sample"
    images = draw_samples(trained, SamplesOptions(count, sampler, steps))
    save_arrays(f"{stem}.npz", samples=images)
    save_sheet(f"{stem}.png", images)
    say(f"{count} samples in {stem}.npz, a grid in {stem}.png")


@command()
def reference(
    dataset: Dataset,
    features: Annotated[str, typer.Option(help="Feature space.")] = "random-conv",
    pool: Literal["train", "test"] = "train",
    count: Annotated[int | None, typer.Option(help="Images of the pool.", show_default="all")] = None,
    device: Device = None,
    expect_code: ExpectCode = None,
) -> None:
    """Compute a dataset's reference statistics in a feature space."""
    from bench.jobs.measure import write_reference
    from bench.suite import plan
    from bench.support.fingerprint import fingerprint

    check_code(expect_code, fingerprint(*plan.entries("reference")))
    write_reference(dataset, features, pool, count, torch_device(device, 1))


@command()
def classifier(dataset: Dataset, device: Device = None, expect_code: ExpectCode = None) -> None:
    """Train a dataset's classifier, whose features are a space."""
    from bench.suite import plan
    from bench.support.fingerprint import fingerprint

    check_code(expect_code, fingerprint(*plan.entries("classifier")))
    device = torch_device(device, 1)
    from bench.data.dataset import open_dataset
    from bench.metrics.numerics.classifier import train_classifier

    found = train_classifier(
        open_dataset(paths.dataset_folder(dataset)), paths.classifier_file(dataset), device
    )
    say(f"classifier of {dataset}: {found:.1%} of the test images are classified correctly")


@command()
def tidy(suite: Suite = "demo", expect_code: ExpectCode = None) -> None:
    """Collect the measurements of a suite's runs into one table."""
    from bench.results.tidy import combine
    from bench.suite import plan
    from bench.support.fingerprint import fingerprint

    check_code(expect_code, fingerprint("bench.results.tidy"))
    loaded = plan.load(suite)
    files = [
        paths.run_folder(suite, name) / f"{metric}.csv"
        for name in loaded.runs
        for metric in loaded.metrics(name)
    ]
    combine(files, paths.tidy_file(suite))


@command()
def pieces(
    suite: Suite = "demo",
    minutes: Annotated[float, typer.Option(help="Time given.")] = 9,
    side_by_side: Annotated[int, typer.Option(help="Runs at the same time, for small networks.")] = 1,
    small: Annotated[
        Path | None, typer.Option(help="Copy the small result files of each finished run here.")
    ] = None,
    device: Device = None,
) -> int:
    """Do the next runs of a suite that fit into a given time."""
    from bench.jobs.pieces import run_pieces
    from bench.suite import plan

    return run_pieces(plan.read(suite), torch_device(device, 1), minutes, side_by_side, small)

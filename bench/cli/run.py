"""One run, from training to its rows of the tidy table: ``bench train``, ``measure``, ``sample`` and more."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Annotated, Literal

import typer

from bench.cli.arguments import (
    Changes,
    Dataset,
    Device,
    Model,
    Run,
    Suite,
    dataset_names,
    parse_changes,
    positive,
    preset_names,
    suite_names,
)
from bench.suite.submitted import check_code
from bench.support import paths
from bench.support.console import say
from bench.support.devices import torch_device
from bench.support.errors import BenchError, nearest

verbs = typer.Typer()
command = functools.partial(verbs.command, rich_help_panel="Runs")


@command()
def train(
    run: Run,
    suite: Suite = "demo",
    device: Device = None,
    checkpoint: Annotated[
        Path | None, typer.Option(help="Start from this checkpoint; refused if it belongs to another run.")
    ] = None,
    checkpoint_seconds: Annotated[float, positive("Time between checkpoints.")] = 60,
    stall_seconds: Annotated[
        float, positive("Stop if one step takes longer, so that the job is retried; 0: never.")
    ] = 1800,
) -> int:
    """Train or resume a run."""
    from bench.suite import plan

    loaded = plan.load(suite)
    spec = loaded.run(run)
    check_code(*plan.entries("train", spec.model))
    device = torch_device(device, spec.training.threads)
    from bench.jobs.train import train
    from bench.training.train import INTERRUPTED, Interrupted

    times = {"checkpoint_seconds": checkpoint_seconds, "stall_seconds": stall_seconds}
    try:
        train(loaded, run, device, checkpoint=checkpoint, **times)
    except Interrupted as interrupted:
        say(f"bench: {interrupted}")
        return INTERRUPTED
    return 0


@command()
def measure(
    metric: Annotated[str, typer.Argument(metavar="METRIC", help="Name of a measurement, or `all`.")],
    run: Run,
    suite: Suite = "demo",
    device: Device = None,
) -> None:
    """Measure a run: one metric, or all in one process."""
    from bench.metrics.declare import measurements
    from bench.suite import plan

    known = (*measurements(), "all")
    if metric not in known:
        raise BenchError(f"There is no metric {metric!r}{nearest(metric, known)}; known: {', '.join(known)}.")
    loaded = plan.load(suite)
    for name in loaded.metrics(run) if metric == "all" else [metric]:
        check_code(*plan.entries(name, loaded.run(run).model))
    from bench.jobs import measure

    device = torch_device(device, loaded.run(run).training.threads)
    left = measure.measure(loaded, run, device, None if metric == "all" else metric)
    if left:
        say(
            f"{run}: not measured yet: {', '.join(left)}; `bench measure all {run} --suite {suite}` writes the table"
        )


@command()
def adopt(
    source: Annotated[
        Path,
        typer.Argument(
            help="Weights (.safetensors, torch file), or a folder written by diffusers' save_pretrained."
        ),
    ],
    suite: Annotated[
        str, typer.Option("--suite", "-s", help="Suite for adopted networks; more can join it.")
    ],
    dataset: Annotated[str, typer.Option(help="Dataset it is measured on.", autocompletion=dataset_names)],
    name: Annotated[str, typer.Option(help="Name of the network.")],
    model: Annotated[
        str | None,
        typer.Option(
            help="Preset or FILE.py:NAME that builds it; not for diffusers networks.",
            autocompletion=preset_names,
        ),
    ] = None,
    set_: Changes = None,
    schedule: Annotated[
        str | None, typer.Option(help="linear, cosine, or a .npy file of betas; a pipeline provides it.")
    ] = None,
    timesteps: Annotated[int, typer.Option(help="Steps T of linear and cosine.", min=2)] = 1000,
    prediction: Annotated[
        Literal["eps", "v", "x0"] | None, typer.Option(help="What it predicts; a pipeline provides it.")
    ] = None,
    train_size: Annotated[
        int | None, typer.Option(help="It was trained on the first N images of --shuffle.", min=1)
    ] = None,
    train_images: Annotated[
        str | None, typer.Option(help="'all' for the whole train pool, or a file of its rows (text, .npy).")
    ] = None,
    shuffle: Annotated[int, typer.Option(help="Shuffle that orders the test images.", min=0)] = 0,
    flip: Annotated[bool, typer.Option("--flip", help="Training mirrored the images.")] = False,
    like: Annotated[
        str, typer.Option(help="Suite whose measurements are taken.", autocompletion=suite_names)
    ] = "demo",
) -> None:
    """Turn a network that was trained elsewhere into a run, to measure it."""
    from bench.jobs.adopt import Wish
    from bench.jobs.adopt import adopt as adopt_network

    given = {"schedule": schedule, "timesteps": timesteps, "prediction": prediction, "flip": flip}
    known = {"train_size": train_size, "train_images": train_images, "shuffle": shuffle, "like": like}
    wish = Wish(source, suite, name, dataset, model, parse_changes(set_ or []), **given, **known)  # type: ignore[arg-type]
    run = adopt_network(wish)
    say(f"{run} is a run of {suite}; `bench measure all {run} --suite {suite}` measures it")


@command()
def tune(
    model: Model,
    suite: Suite = "families",
    dataset: Annotated[
        str | None,
        typer.Option(
            help="Dataset that the suite trains on.", show_default="first", autocompletion=dataset_names
        ),
    ] = None,
    train_size: Annotated[
        int | None, typer.Option(help="Number of training images N.", show_default="largest of the suite")
    ] = None,
    rate: Annotated[
        list[float] | None,
        typer.Option(help="Learning rate; repeatable.", show_default="half, once and twice the suite's"),
    ] = None,
    steps: Annotated[
        int | None, typer.Option(help="Training steps.", show_default="a third of the suite's")
    ] = None,
    shuffles: Annotated[int, typer.Option(help="Shuffles of each rate.", min=1)] = 1,
    minutes: Annotated[float, positive("Time limit; the same command continues.")] = 60,
    device: Device = None,
) -> int:
    """Try learning rates for a network in short runs, judged on validation images."""
    from bench.jobs import tune
    from bench.suite import plan

    wanted = tune.plan(plan.load(suite), model, dataset, train_size, rate or (), shuffles, steps)
    status, found = tune.tune(wanted, torch_device(device, 1), minutes)
    if found is not None:
        print(tune.readable(found))
        say(f"{tune.advice(found)} The table is {tune.table_file(wanted)}.")
    return 0 if found is not None else status


@command()
def sample(
    run: Run,
    suite: Suite = "demo",
    device: Device = None,
    count: Annotated[int, typer.Option(help="Number of images.", min=1)] = 64,
    sampler: Literal["ddpm", "ddim"] = "ddpm",
    steps: Annotated[int, typer.Option(help="Sampling steps.", min=1)] = 50,
    out: Annotated[Path | None, typer.Option(help="File stem.", show_default="RUN_FOLDER/sample")] = None,
) -> None:
    """Draw samples from a trained run, as an array and a picture."""
    from bench.suite import plan

    spec = plan.load(suite).run(run)
    device = torch_device(device, spec.training.threads)
    from bench.data.sheet import save_sheet
    from bench.jobs.adopted import open_run
    from bench.metrics.numerics.sampling import draw_samples
    from bench.metrics.samples import SamplesOptions
    from bench.support.arrays import save_arrays

    trained = open_run(paths.run_folder(suite, run), device)
    stem = out or trained.folder / "sample"
    images = draw_samples(trained, SamplesOptions(count=count, sampler=sampler, steps=steps))
    save_arrays(f"{stem}.npz", samples=images)
    save_sheet(f"{stem}.png", images)
    say(f"{count} samples in {stem}.npz, a grid in {stem}.png")


@command()
def reference(
    dataset: Dataset,
    name: Annotated[str, typer.Argument(help="wiener, classifier, or statistics SPACE.POOL.COUNT.")],
    device: Device = None,
) -> None:
    """Compute a dataset's reference statistics, classifier or linear filter."""
    from bench.metrics.declare import Reference
    from bench.suite.plan import reference_entries

    wanted = Reference(dataset, name)
    check_code(*reference_entries(wanted))
    from bench.jobs.references import open_reference

    open_reference(wanted, torch_device(device, 1))


@command()
def tidy(suite: Suite = "demo") -> None:
    """Collect the measurements of a suite's runs into one table."""
    from bench.results.tidy import combine
    from bench.suite import plan

    check_code("bench.results.tidy")
    loaded = plan.load(suite)
    files = [paths.measured_files(suite, name)[0] for name in loaded.runs]
    combine(files, paths.tidy_file(suite))


@command()
def pieces(
    suite: Suite = "demo",
    minutes: Annotated[float, positive("Time given.")] = 9,
    side_by_side: Annotated[int, typer.Option(help="Number of runs at once, for small networks.", min=1)] = 1,
    small: Annotated[
        Path | None, typer.Option(help="Copy the small result files of each finished run here.")
    ] = None,
    device: Device = None,
) -> int:
    """Do the next runs of a suite that fit into a time limit."""
    from bench.jobs.pieces import run_pieces
    from bench.suite import plan

    return run_pieces(
        plan.read(paths.plan_file(suite)), torch_device(device, 1), minutes, side_by_side, small
    )

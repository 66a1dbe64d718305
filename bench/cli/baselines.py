"""Against what is stored: ``bench compare``, ``baselines``, ``reproduce``, ``leaderboard``."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Annotated

import typer

from bench.cli.arguments import Device, Suite
from bench.suite.submitted import check_code
from bench.support.console import say

PANEL = "Comparison"
verbs = typer.Typer()
command = functools.partial(verbs.command, rich_help_panel=PANEL)
actions = typer.Typer(no_args_is_help=True)
verbs.add_typer(
    actions,
    name="baselines",
    rich_help_panel=PANEL,
    help="Store a suite's measurements; check what is stored.",
)


@actions.command()
def promote(suite: Suite = "demo") -> None:
    """Store the finished runs of a suite as its baselines; the same command adds the rest later."""
    from bench.compare import leaderboard
    from bench.results import baselines
    from bench.suite import plan
    from bench.support import paths

    left = baselines.promote(plan.load(suite))
    leaderboard.write()
    folder, runs = paths.baselines_folder(suite), len(baselines.stored(suite)["runs"])
    size = sum(f.stat().st_size for f in folder.rglob("*") if f.is_file())
    more = f"; {len(left)} are not finished, the first: {left[0]}" if left else ""
    say(f"{folder}: {runs} runs, {size / 2**20:.1f} MiB{more}")


@actions.command()
def verify(suite: Suite = "demo") -> int:
    """List baselines that are out of date with the current code, options and data."""
    from bench.results import staleness
    from bench.suite import plan

    found = staleness.status(plan.load(suite))
    stale = {key: why for key, why in found.items() if why}
    for (run, metric), why in stale.items():
        print(f"{run}\t{metric}\t{why}")
    say(f"{suite}: {len(found) - len(stale)} of {len(found)} measurements are current")
    return 1 if stale else 0


@actions.command()
def show(suite: Suite = "demo") -> None:
    """List the stored runs with date, machine and commit."""
    from bench.results import baselines

    record = baselines.stored(suite)
    for run, made in record["runs"].items():
        place = record["environments"][made["train"]["environment"]]
        device = place["device"] if place["device"] != "cpu" else place["cpu"]
        versions, commit = f"torch {place['versions']['torch']}", place["git"]["commit"][:9]
        metrics = ", ".join(made["metrics"])
        print(f"{run}\t{made['train']['date']}\t{device}\t{versions}\tcommit {commit}\t{metrics}")


@actions.command()
def diff(suite: Suite = "demo") -> None:
    """Compare a suite's results with its baselines."""
    from bench.results import baselines

    print(baselines.difference(suite).to_string(index=False))


archives = typer.Typer(invoke_without_command=True)
verbs.add_typer(
    archives,
    name="archive",
    rich_help_panel=PANEL,
    help="Pack a suite's baselines into one self-contained zip.",
)


@archives.callback()
def write_archive(
    context: typer.Context,
    suite: Suite = "demo",
    out: Annotated[Path | None, typer.Option(help="File.", show_default="SUITE.zip")] = None,
    weights: Annotated[bool, typer.Option("--weights", help="With weights, in half precision.")] = False,
) -> None:
    """Pack a suite's stored baselines, figures and tables into one zip."""
    if context.invoked_subcommand:
        return
    from bench.jobs import archive
    from bench.suite import plan

    file = out or Path(f"{suite}.zip")
    for sentence in archive.write(plan.load(suite), file, weights):
        say(sentence)
    say(f"{file}: {file.stat().st_size / 2**20:.1f} MiB; `bench archive check {file}` verifies it")


ArchiveFile = Annotated[Path, typer.Argument(metavar="FILE", help="A zip that `bench archive` wrote.")]


@archives.command("check")
def check_archive(file: ArchiveFile) -> None:
    """Check every byte of an archive."""
    from bench.jobs import archive

    suite, files = archive.check(file)
    say(f"{file}: suite {suite}, {len(files)} files, each as recorded")


@archives.command("unpack")
def unpack_archive(file: ArchiveFile) -> None:
    """Check an archive and store its measurements as baselines here."""
    from bench.jobs import archive

    archive.unpack(file)


@command()
def compare(suite: Suite = "demo") -> None:
    """Compare a measured architecture with a suite's baselines."""
    from bench.compare import pages
    from bench.suite import plan

    check_code("bench.compare.pages")
    stem = pages.write(plan.load(suite))
    print(stem.with_suffix(".md").read_text(encoding="utf-8"))


@command()
def leaderboard() -> None:
    """Write the leaderboard from all stored baselines."""
    from bench.compare import leaderboard

    for file in leaderboard.write():
        say(str(file))


@command()
def reproduce(
    suite: Suite = "demo",
    sample: Annotated[int, typer.Option(help="Number of runs, drawn at random.", min=1)] = 5,
    seed: Annotated[int, typer.Option(help="Seed of the draw.")] = 0,
    device: Device = None,
    accept: Annotated[
        bool,
        typer.Option(
            "--accept",
            help="Draw from out-of-date runs; if every bit agrees, mark all as current.",
        ),
    ] = False,
) -> int:
    """Rerun some stored baselines and report whether they agree."""
    from bench.jobs import reproduce
    from bench.results import staleness
    from bench.suite import plan

    loaded = plan.load(suite)
    found = reproduce.reproduce(loaded, reproduce.sample(loaded, sample, seed, changed=accept), device)
    agree = sum(one.agrees for one in found)
    if accept and all(one.same_kind and not one.differing for one in found):
        say(
            f"{suite}: {staleness.accept(loaded)} changes of code and options accepted: the numbers are the same"
        )
    say(
        f"{suite}: {agree} of {len(found)} runs agree. On the same kind of machine every bit must agree; elsewhere "
        f"means may differ by {reproduce.DECIBELS} dB, other numbers by {reproduce.RELATIVE:.0%} or {reproduce.SMALL}."
    )
    return int(agree < len(found))

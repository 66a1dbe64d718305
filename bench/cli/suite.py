"""What a suite is and how far it has got: ``bench doctor``, ``check``, ``plan``, ``runs``, ``why``, ``config``."""

from __future__ import annotations

import functools
import json
import sys
import time
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from bench.cli.arguments import Json, Run, Suite, positive, print_table
from bench.support import paths
from bench.support.console import say
from bench.support.errors import BenchError

if TYPE_CHECKING:
    from bench.suite.forecast import Forecast, Row
    from bench.suite.plan import Plan
    from bench.training.log import Live

verbs = typer.Typer()
command = functools.partial(verbs.command, rich_help_panel="Suites")


@command()
def doctor(suite: Suite = "demo") -> int:
    """Check this machine and suggest fixes."""
    from bench.jobs.doctor import WORDS, findings

    found = list(findings(suite))
    width = max(len(finding.what) for finding in found)
    for finding in found:
        print(f"{WORDS[finding.works]:8} {finding.what:{width}}  {finding.text}")
    return int(any(finding.works is False for finding in found))


@command()
def check(suite: Suite = "demo") -> None:
    """Check a suite before its first job, and write its plan."""
    from bench.jobs.check import check, trained_twice
    from bench.report.items import check_listed
    from bench.suite import plan

    loaded = plan.load(suite)
    check_listed(loaded)
    pairs = check(loaded)
    for sentence in trained_twice(loaded):
        say(sentence)
    say(f"{suite}: {len(loaded.runs)} runs, {pairs} pairs of model and dataset; all can be built")


@command()
def plan(
    suite: Suite = "demo",
    json_: Json = False,
    device: Annotated[
        str | None, typer.Option(help="Use the stored rates of this device (part of its name).")
    ] = None,
    tflops: Annotated[float, positive("Assumed bfloat16 peak in TFLOP/s if no rate is stored.")] = 312,
    tflops_float32: Annotated[float, positive("The same in float32.")] = 19.5,
    utilisation: Annotated[float, typer.Option(help="Assumed fraction of the peak.")] = 0.2,
) -> None:
    """List a suite's runs and forecast jobs, device-hours and disk."""
    from bench.suite import plan
    from bench.suite.forecast import Forecast, Machine

    if not 0 < utilisation <= 1:
        raise BenchError(f"--utilisation must be in (0, 1], not {utilisation}.")
    if min(tflops, tflops_float32) <= 0:
        raise BenchError("--tflops and --tflops-float32 must be positive.")
    loaded = plan.load(suite)
    machine = Machine(device, {"bfloat16": tflops, "float32": tflops_float32}, utilisation)
    forecast = Forecast(loaded, machine)
    if json_:
        rows = {rule: vars(row) for rule, row in forecast.rows.items()}
        about = {"device": forecast.device, "assumed": asdict(machine), "rules": rows}
        print(json.dumps(loaded.summary() | {"forecast": about}, indent=1))
        return
    for name, run in loaded.runs.items():
        print(f"{name}\t{run.training.steps} steps\t{', '.join(loaded.metrics(name))}")
    say(
        f"{suite}: {len(loaded.runs)} runs on {len(loaded.datasets)} dataset{'s' * (len(loaded.datasets) != 1)}"
    )
    print()
    _print_forecast(forecast)


def _print_forecast(forecast: Forecast) -> None:
    """Print the forecast as an aligned table with its assumptions below."""
    from bench.suite.forecast import NO_DEVICE, STATED, Row

    total = Row()
    cells: list[tuple[str, ...]] = [("rule", "jobs", "device-hours", "low to high", "disk")]
    for rule, row in forecast.rows.items():
        for name in ("jobs", "hours", "low", "high", "unknown"):
            setattr(total, name, getattr(total, name) + getattr(row, name))
        total.basis += row.basis
        total.disk = (total.disk or 0) + (row.disk or 0)
        disk = _bytes(row.disk) if row.disk is not None else "unknown" if rule in _STORES else "small"
        hours = ("none", "") if rule in NO_DEVICE else _hours(row)
        cells.append((rule, str(row.jobs), *hours, disk))
    cells.append(("total", str(total.jobs), *_hours(total), _bytes(total.disk or 0)))
    print_table(cells)
    known = ", ".join(f"{basis} {count}" for basis, count in total.basis.items())
    peaks = ", ".join(f"{peak:g} TFLOP/s in {name}" for name, peak in forecast.machine.peaks.items())
    device = forecast.device or "none named (--device)"
    print(f"\nJobs by source of the estimate: {known}. Device with stored rates: {device}.")
    if total.basis["stated"]:
        share = f"{forecast.machine.utilisation:.0%}"
        print(f"Stated: {share} of {peaks}; wrong by up to a factor of {STATED:g} either way.")
    if not forecast.costs:
        name = forecast.suite.suite
        print(f"Multiply-adds are not counted yet: `bench check --suite {name}` does (no GPU needed).")


_STORES = {"dataset", "train", "measure"}


def _hours(row: Row) -> tuple[str, str]:
    if row.unknown == row.jobs or not row.hours:
        return "unknown", ""
    more = f", {row.unknown} jobs unknown" if row.unknown else ""
    return _number(row.hours), f"{_number(row.low)} to {_number(row.high)}{more}"


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.2g}"


def _bytes(count: float) -> str:
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.3g} TB"


runs_app = typer.Typer(invoke_without_command=True)
verbs.add_typer(runs_app, name="runs", rich_help_panel="Suites", help="Show the progress of a suite's runs.")


@runs_app.callback()
def show_runs(
    context: typer.Context,
    suite: Suite = "demo",
    json_: Json = False,
    watch: Annotated[float | None, positive("Refresh at this interval.", metavar="SECONDS")] = None,
) -> None:
    """Show state, progress, rate and time left of a suite's runs."""
    from bench.suite import plan

    if context.invoked_subcommand:
        return
    loaded = plan.load(suite)
    _show_runs(loaded, json_)
    while watch:
        time.sleep(watch)
        print("\033[H\033[2J" if sys.stdout.isatty() else "", flush=True)
        _show_runs(loaded, json_)


@runs_app.command("clean")
def clean_runs(
    suite: Suite = "demo", yes: Annotated[bool, typer.Option("--yes", help="Delete without asking.")] = False
) -> None:
    """Delete checkpoints that no run of the suite would resume from."""
    from bench.jobs.clean import delete, folders
    from bench.suite import plan

    found = folders(plan.load(suite))
    unused = [folder for folder in found if not folder.kept]
    for folder in found:
        print(
            f"{(folder.kept and 'keep') or 'delete'}\t{_bytes(folder.bytes)}\t{folder.path}\t{folder.kept}".rstrip()
        )
    size = _bytes(sum(folder.bytes for folder in unused))
    if not unused:
        say("Nothing to delete.")
    elif yes or (sys.stdin.isatty() and typer.confirm(f"Delete {len(unused)} folders, {size}?")):
        say(f"{_bytes(delete(unused))} freed")
    else:
        say(f"Nothing was deleted; `bench runs clean --suite {suite} --yes` frees {size}.")


@runs_app.command("tensorboard")
def export_runs(
    suite: Suite = "demo",
    out: Annotated[Path | None, typer.Option(help="New folder.", show_default="results/SUITE/events")] = None,
) -> None:
    """Write training histories as TensorBoard events."""
    from bench.jobs.tensorboard import export
    from bench.suite import plan

    folder = out or paths.suite_folder(suite) / "events"
    runs = export(plan.load(suite), folder)
    say(f"{len(runs)} runs; `tensorboard --logdir {folder}` shows them")


def _show_runs(suite: Plan, machine: bool) -> None:
    from bench.training.log import look

    found = {
        name: look(paths.run_folder(suite.suite, name), paths.state_root(suite.suite, name))
        for name in suite.runs
    }
    if machine:
        print(json.dumps({name: asdict(live) for name, live in found.items()}, indent=1))
        return
    head = ("run", "state", "progress", "images/s", "left", "device", "restarts", "last sign")
    print_table([head, *((name, *_live_cells(live)) for name, live in found.items())])
    count = Counter(live.state for live in found.values())
    say(", ".join(f"{number} {state}" for state, number in count.items()))


def _live_cells(live: Live) -> tuple[str, ...]:
    share = f"{live.step}/{live.steps} ({100 * live.step / live.steps:.0f} %)" if live.steps else ""
    rate = f"{live.images_per_second:.3g}" if live.images_per_second else ""
    left = _duration(live.seconds_left) if live.seconds_left is not None else ""
    job = f", job {live.job}" if live.job else ""
    sign = f"{_duration(live.age)} ago on {live.host}{job}" if live.age is not None else live.host
    reason = f": {live.reason}" if live.reason else ""
    return live.state, share, rate, left, live.device, str(live.restarts), f"{sign}{reason}"


def _duration(seconds: float) -> str:
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.0f} s"


@command()
def why(run: Run, suite: Suite = "demo") -> None:
    """Name the options and code that changed since a run was trained."""
    from bench.suite import plan
    from bench.suite.why import changes

    lines = changes(plan.load(suite), run)
    print("\n".join(lines) or f"{run}: nothing changed since it was trained; it would not run again.")


@command()
def config(
    what: Annotated[
        Literal["schema", "options"], typer.Argument(help="JSON schema of a suite, or the options page.")
    ],
) -> None:
    """Print the JSON schema of a suite, or the page of all options."""
    from bench.suite import reference_pages

    print(reference_pages.schema() if what == "schema" else reference_pages.options_page(), end="")

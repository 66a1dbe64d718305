"""The verbs that look at a suite as a whole: ``bench plan`` and ``bench runs``."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

from bench.cli.arguments import add_suite
from bench.support import paths
from bench.support.console import say
from bench.support.errors import BenchError


def configure_plan(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``bench plan``."""
    parser.add_argument("name", nargs="?", metavar="SUITE", help="suite of config/suites (default: demo)")
    parser.add_argument("--suite", help="the same")
    parser.add_argument("--json", action="store_true", help="plan and forecast for machines")
    parser.add_argument("--device", help="use the stored rates of this device (a part of its name)")
    parser.add_argument(
        "--tflops",
        type=float,
        default=312,
        help="peak where no rate is stored, bfloat16 (default: 312, an A100)",
    )
    parser.add_argument(
        "--tflops-float32", type=float, default=19.5, help="the same, float32 (default: 19.5, an A100)"
    )
    parser.add_argument(
        "--utilisation", type=float, default=0.2, help="share of the peak that is reached (default: 0.2)"
    )
    parser.set_defaults(run=show_plan)


def show_plan(arguments: argparse.Namespace) -> None:
    """Print the runs of a suite and the forecast of its cost."""
    from bench.suite import plan
    from bench.suite.forecast import Forecast, Machine

    if not 0 < arguments.utilisation <= 1:
        raise BenchError(f"--utilisation must be in (0, 1], not {arguments.utilisation}.")
    if min(arguments.tflops, arguments.tflops_float32) <= 0:
        raise BenchError("--tflops and --tflops-float32 must be positive.")
    suite = plan.load(arguments.name or arguments.suite or "demo")
    peaks = {"bfloat16": arguments.tflops, "float32": arguments.tflops_float32}
    machine = Machine(arguments.device, peaks, arguments.utilisation)
    forecast = Forecast(suite, machine)
    if arguments.json:
        rows = {rule: vars(row) for rule, row in forecast.rows.items()}
        about = {"device": forecast.device, "assumed": asdict(machine), "rules": rows}
        print(json.dumps(suite.summary() | {"forecast": about}, indent=1))
        return
    for name, run in suite.runs.items():
        print(f"{name}\t{run.training.steps} steps\t{', '.join(suite.metrics(name))}")
    say(f"{suite.suite}: {len(suite.runs)} runs on {len(suite.datasets)} datasets")
    print()
    _print_forecast(forecast)


def _print_forecast(forecast) -> None:
    """Print the forecast as an aligned table with its assumptions below."""
    from bench.suite.forecast import NO_DEVICE, STATED, Row

    total = Row()
    cells = [("rule", "jobs", "device-hours", "low to high", "disk")]
    for rule, row in forecast.rows.items():
        for name in ("jobs", "hours", "low", "high", "unknown"):
            setattr(total, name, getattr(total, name) + getattr(row, name))
        total.basis += row.basis
        total.disk = (total.disk or 0) + (row.disk or 0)
        disk = _bytes(row.disk) if row.disk is not None else "unknown" if rule in _STORES else "small"
        hours = ("none", "") if rule in NO_DEVICE else _hours(row)
        cells.append((rule, str(row.jobs), *hours, disk))
    cells.append(("total", str(total.jobs), *_hours(total), _bytes(total.disk)))
    _print_table(cells)
    known = ", ".join(f"{basis} {count}" for basis, count in total.basis.items())
    peaks = ", ".join(f"{peak:g} TFLOP/s in {name}" for name, peak in forecast.machine.peaks.items())
    device = forecast.device or "none named (--device)"
    lines = [
        "",
        f"Jobs by where their time comes from: {known}. Device with stored rates: {device}.",
    ]
    if total.basis["stated"]:
        share = f"{forecast.machine.utilisation:.0%}"
        lines.append(f"Stated: {share} of {peaks}; wrong by up to a factor of {STATED:g} either way.")
    if not forecast.costs:
        lines.append(
            f"Multiply-adds are not counted yet: `bench check {forecast.suite.suite}` does (no GPU needed)."
        )
    print("\n".join(lines))


_STORES = {"dataset", "train", "samples"}


def _hours(row) -> tuple[str, str]:
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


def configure_runs(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``bench runs``."""
    parser.add_argument("action", nargs="?", choices=("show", "clean"), default="show")
    add_suite(parser)
    parser.add_argument("--json", action="store_true", help="for machines")
    parser.add_argument("--watch", type=float, metavar="SECONDS", help="show again every so many seconds")
    parser.set_defaults(run=runs)


def runs(arguments: argparse.Namespace) -> None:
    """Show how a suite's runs stand, or delete state folders that no current run of it needs."""
    from bench.suite import plan
    from bench.training import state

    suite = plan.load(arguments.suite)
    if arguments.action == "clean":
        freed = state.clean(_needed_state(suite), paths.STATE / suite.suite)
        say(f"{freed / 2**20:.1f} MiB freed in {paths.STATE / suite.suite}")
        return
    _show_runs(suite, arguments.json)
    while arguments.watch:
        time.sleep(arguments.watch)
        print("\033[H\033[2J" if sys.stdout.isatty() else "", flush=True)
        _show_runs(suite, arguments.json)


def _show_runs(suite, machine: bool) -> None:
    from bench.training.live import look

    found = {
        name: look(paths.run_folder(suite.suite, name), paths.state_root(suite.suite, name))
        for name in suite.runs
    }
    if machine:
        print(json.dumps({name: asdict(live) for name, live in found.items()}, indent=1))
        return
    head = ("run", "state", "progress", "images/s", "left", "device", "restarts", "last sign")
    _print_table([head, *((name, *_live_cells(live)) for name, live in found.items())])
    count = Counter(live.state for live in found.values())
    say(", ".join(f"{number} {state}" for state, number in count.items()))


def _live_cells(live) -> tuple[str, ...]:
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


def _print_table(rows: list[tuple[str, ...]]) -> None:
    widths = [max(map(len, column)) for column in zip(*rows)]
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip())


def _needed_state(suite) -> list[Path]:
    """Return the state folders that the suite's runs, with the present data, options and code, would resume from."""
    from bench.support.files import read_json
    from bench.training.train import training_digest

    needed = []
    for name, run in suite.runs.items():
        manifest = paths.dataset_folder(run.dataset) / "manifest.json"
        if manifest.exists():
            digest = training_digest(run, read_json(manifest)["sha256"], suite.code("train", name))
            needed.append(paths.state_root(suite.suite, name) / digest)
    return needed


VERBS: dict[str, Callable[[argparse.ArgumentParser], None]] = {"plan": configure_plan, "runs": configure_runs}

"""Arguments that several verbs share, so that suite, run and device are given the same way everywhere."""

from __future__ import annotations

import math
from typing import Annotated, Any

import typer

from bench.support.errors import BenchError


def suite_names(incomplete: str) -> list[str]:
    """Return the suites whose names start with ``incomplete``, for shell completion."""
    from bench.suite import config

    return [name for name in config.suites() if name.startswith(incomplete)]


def run_names(context: typer.Context, incomplete: str) -> list[str]:
    """Return the runs of the suite given so far whose names start with ``incomplete``, for shell completion."""
    from bench.suite import plan

    try:
        runs = plan.load(context.params.get("suite") or "demo").runs
    except BenchError:
        return []
    return [name for name in runs if name.startswith(incomplete)]


def preset_names(incomplete: str) -> list[str]:
    """Return the model presets whose names start with ``incomplete``, for shell completion."""
    from bench.suite import config

    return [name for name in config.load_models() if name.startswith(incomplete)]


def dataset_names(incomplete: str) -> list[str]:
    """Return the datasets whose names start with ``incomplete``, for shell completion."""
    from bench.suite import config

    return [name for name in config.load_datasets() if name.startswith(incomplete)]


def _finite(value: float | None) -> float | None:
    if value is not None and not 0 <= value < math.inf:
        raise typer.BadParameter(f"{value} is not a finite number of at least 0.")
    return value


def positive(help: str, **more: Any) -> Any:
    """Declare an option that takes a finite number of at least 0."""
    return typer.Option(help=help, callback=_finite, **more)


def suite_option(help: str, **more: Any) -> Any:
    """Declare an option that names a suite, with shell completion."""
    return typer.Option("--suite", "-s", help=help, autocompletion=suite_names, **more)


Suite = Annotated[str, suite_option("Name of the suite.")]
Run = Annotated[
    str,
    typer.Argument(metavar="RUN", help="Run, as `bench plan` lists it.", autocompletion=run_names),
]
Model = Annotated[
    str,
    typer.Argument(metavar="MODEL", help="A preset, FILE.py or FILE.py:NAME.", autocompletion=preset_names),
]
Device = Annotated[
    str | None,
    typer.Option("--device", help="Torch device.", show_default="cuda if available, else cpu"),
]
Dataset = Annotated[
    str,
    typer.Argument(metavar="DATASET", help="Dataset of config/datasets.yaml.", autocompletion=dataset_names),
]
Changes = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Option of the model, value as YAML; repeatable."),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def print_table(rows: list[tuple[str, ...]]) -> None:
    """Print rows of text in aligned columns."""
    widths = [max(map(len, column)) for column in zip(*rows)]
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip())


def parse_changes(changes: list[str]) -> dict[str, Any]:
    """Return ``KEY=VALUE`` texts as a mapping, values read as YAML; raises BenchError."""
    from bench.suite.strict import parse

    values = {}
    for change in changes:
        key, found, text = change.partition("=")
        if not found:
            raise BenchError(f"--set {change} lacks a value; write --set {change}=VALUE.")
        values[key] = parse(text, f"--set {change}")
    return values

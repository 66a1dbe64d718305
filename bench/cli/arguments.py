"""Arguments that several verbs share, so that suite, run and device are given the same way everywhere."""

from __future__ import annotations

from typing import Annotated

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


Suite = Annotated[str, typer.Option("--suite", "-s", help="Suite of config/.", autocompletion=suite_names)]
Run = Annotated[
    str,
    typer.Argument(metavar="RUN", help="Run, as `bench plan` lists it.", autocompletion=run_names),
]
Device = Annotated[
    str | None,
    typer.Option("--device", help="Torch device.", show_default="cuda if available, else cpu"),
]
Dataset = Annotated[
    str,
    typer.Argument(metavar="DATASET", help="Dataset of config/datasets.yaml.", autocompletion=dataset_names),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def print_table(rows: list[tuple[str, ...]]) -> None:
    """Print rows of text in aligned columns."""
    widths = [max(map(len, column)) for column in zip(*rows)]
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip())

"""The folder that a command runs in: it holds the results, and its code must be the code that runs."""

from __future__ import annotations

import os
from pathlib import Path

from bench.support.errors import BenchError
from bench.support.paths import ROOT


def check() -> None:
    """Refuse a subfolder of a project, and a copied project that would run the code of the one it was copied from.

    Any other folder will do, and so will every folder where BENCH_CONFIG names the configuration.
    """
    if os.environ.get("BENCH_CONFIG"):
        return
    here = Path.cwd().resolve()
    found = next((folder for folder in (here, *here.parents) if _is_project(folder)), None)
    if found is None:
        return
    if found != here:
        raise BenchError(f"This is a subfolder of the project; run commands in its root: cd {found}.")
    if found != ROOT:
        raise BenchError(
            f"The `bench` that runs is the code of {ROOT}, not of this folder, which was copied or moved; "
            "run `make setup` here and use .venv/bin of this folder."
        )


def elsewhere() -> str:
    """Return a sentence for messages about missing results if this folder is not the project, else nothing."""
    return "" if _is_project(Path()) else f" This folder is not the project's root; cd to {ROOT}."


def _is_project(folder: Path) -> bool:
    return (folder / "Snakefile").is_file() and (folder / "bench" / "__init__.py").is_file()

"""The verbs ``bench figure`` and ``bench table``."""

from __future__ import annotations

import argparse
import functools

from bench.console import say


def _configure(kind: str, parser: argparse.ArgumentParser) -> None:
    parser.add_argument("item", help=f"{kind} to draw, say {'fig2' if kind == 'figure' else 'tab1'}")
    parser.add_argument(
        "--suite", default="demo", help="suite whose stored measurements are used (default: demo)"
    )
    parser.set_defaults(run=functools.partial(_render, kind))


def _render(kind: str, arguments: argparse.Namespace) -> None:
    from bench.report.render import render

    stem = render(arguments.item, arguments.suite, kind)
    forms = ".pdf and .png" if kind == "figure" else ".csv, .md and .tex"
    say(f"{stem}{forms}")


VERBS = {kind: functools.partial(_configure, kind) for kind in ("figure", "table")}

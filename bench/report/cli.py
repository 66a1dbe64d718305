"""The verbs ``bench figure`` and ``bench table``."""

from __future__ import annotations

import argparse
import functools

from bench import planned
from bench.console import say
from bench.provenance import fingerprint
from bench.report.items import ITEMS


def item_code(item: str) -> str:
    """Return the fingerprint of the code that an item depends on."""
    return fingerprint("bench.report.render", ITEMS[item].module)


def _configure(kind: str, parser: argparse.ArgumentParser) -> None:
    parser.add_argument("item", help=f"{kind} to draw, say {'fig2' if kind == 'figure' else 'tab1'}")
    parser.add_argument(
        "--suite", default="demo", help="suite whose stored measurements are used (default: demo)"
    )
    planned.add_option(parser)
    parser.set_defaults(run=functools.partial(_render, kind))


def _render(kind: str, arguments: argparse.Namespace) -> None:
    from bench.report.render import render

    if arguments.item in ITEMS:  # render names the nearest where it is not
        planned.check(arguments, item_code(arguments.item))
    stem = render(arguments.item, arguments.suite, kind)
    forms = ".pdf and .png" if kind == "figure" else ".csv, .md and .tex"
    say(f"{stem}{forms}")


VERBS = {kind: functools.partial(_configure, kind) for kind in ("figure", "table")}

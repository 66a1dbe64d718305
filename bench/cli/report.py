"""The verbs ``bench figure``, ``bench table``, ``bench items``, ``bench claims`` and ``bench quality``."""

from __future__ import annotations

import argparse
import functools

from bench.cli import expected_code
from bench.report.items import ITEMS
from bench.suite.fingerprint import fingerprint
from bench.support import paths
from bench.support.console import say
from bench.support.errors import BenchError


def item_code(item: str) -> str:
    """Return the fingerprint of the code that an item depends on."""
    return fingerprint("bench.report.render", ITEMS[item].module)


def _configure(kind: str, parser: argparse.ArgumentParser) -> None:
    parser.add_argument("item", help=f"{kind} to draw, say {'fig2' if kind == 'figure' else 'tab1'}")
    parser.add_argument(
        "--suite", default="demo", help="suite whose stored measurements are used (default: demo)"
    )
    expected_code.add_option(parser)
    parser.set_defaults(run=functools.partial(_render, kind))


def _render(kind: str, arguments: argparse.Namespace) -> None:
    from bench.report.render import render

    if arguments.item in ITEMS:  # render names the nearest where it is not
        expected_code.check(arguments, item_code(arguments.item))
    stem = render(arguments.item, arguments.suite, kind)
    forms = ".pdf and .png" if kind == "figure" else ".csv, .md, .tex and .html"
    say(f"{stem}{forms}")


def _configure_items(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "suites",
        nargs="*",
        help="suites whose listed items are drawn; without any, all that have measurements",
    )
    parser.set_defaults(run=_items)


def _items(arguments: argparse.Namespace) -> None:
    """Draw all listed items from what is stored; raises BenchError at the end where some lack measurements."""
    from bench.report.context import Context
    from bench.report.render import render

    suites = arguments.suites or sorted(
        {
            p.parent.name
            for pattern in ("*", "baselines/*")
            for p in paths.RESULTS.glob(f"{pattern}/tidy.csv*")
        }
    )
    lacking = []
    for suite in suites:
        for item in Context(suite, "").plan["items"]:
            try:
                say(f"{render(item, suite, ITEMS[item].kind)}")
            except BenchError as error:
                lacking.append(f"{suite}: {item}")
                say(str(error))
    if lacking:
        raise BenchError(f"{len(lacking)} items lack measurements: {', '.join(lacking)}.")
    if not suites:
        raise BenchError("No suite was measured here and none is stored; run `snakemake --cores 2 all`.")


def _configure_claims(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "suite",
        nargs="?",
        help="suite whose stored measurements are judged; without it, printed numbers only",
    )
    parser.add_argument("--json", action="store_true", help="every cell, for machines")
    parser.set_defaults(run=_claims)


def _claims(arguments: argparse.Namespace) -> None:
    from bench.report.context import Context
    from bench.report.staleness import stale_note
    from bench.report.tables.claims import judged, numbers

    context = Context(arguments.suite, "tabClaims") if arguments.suite else None
    rows = judged(context)
    if arguments.json:
        print(numbers(rows).to_json(orient="records", indent=1))
        return
    for key, claim, verdicts in rows:
        print(f"{key}\t{verdicts['printed'].word}\t{verdicts['measured'].word}\t{claim.sentence}")
        for side, verdict in verdicts.items():
            if verdict.cells:
                print(f"  {side}: {verdict.text()}")
    say(f"{len(rows)} claims; printed numbers first, then those of {arguments.suite or 'no suite'}")
    if context and (note := stale_note(context, ITEMS["tabClaims"])):
        say(note.strip())


def _configure_quality(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--suite", default="demo", help="suite whose measurements are checked (default: demo)"
    )
    parser.set_defaults(run=_quality)


def _quality(arguments: argparse.Namespace) -> None:
    """Write quality.csv, .md, .tex and .html of a suite; raises BenchError where something is impossible."""
    from bench.report.context import Context
    from bench.report.quality import FAIL, NOTE, judge
    from bench.report.staleness import stale_note
    from bench.report.tables.quality import table_of

    context = Context(arguments.suite, "tabQuality")
    findings = judge(context)
    table, stem = table_of(context, findings), paths.suite_folder(arguments.suite) / "quality"
    table.caption += stale_note(context, ITEMS["tabQuality"])
    table.write(str(stem))
    for finding in findings:
        if finding.verdict in (FAIL, NOTE):
            print(f"{finding.verdict}\t{finding.run}\t{finding.check}\t{finding.text}")
    say(f"{table.caption} All checks: {stem}.csv, {stem}.md")
    if failed := [f for f in findings if f.verdict == FAIL]:
        raise BenchError(
            f"{len(failed)} checks of suite {arguments.suite!r} failed, the first: {failed[0].run}: {failed[0].text}; "
            f"see {stem}.md."
        )


VERBS = {"claims": _configure_claims, "items": _configure_items, "quality": _configure_quality} | {
    kind: functools.partial(_configure, kind) for kind in ("figure", "table")
}

"""What was found, from stored measurements: ``bench figure``, ``table``, ``items``, ``claims``, ``quality``."""

from __future__ import annotations

import functools
import os
from concurrent.futures import ProcessPoolExecutor
from typing import Annotated

import typer

from bench.cli.arguments import Json, Suite, suite_option
from bench.suite.submitted import check_code
from bench.support import paths
from bench.support.console import say
from bench.support.errors import BenchError

verbs = typer.Typer()
command = functools.partial(verbs.command, rich_help_panel="Results")


def _item_names(incomplete: str) -> list[str]:
    from bench.report.items import ITEMS

    return [name for name in ITEMS if name.startswith(incomplete)]


ItemName = Annotated[
    str,
    typer.Argument(metavar="ITEM", help="Item, for instance fig2 or tab1.", autocompletion=_item_names),
]


@command()
def figure(item: ItemName, suite: Suite = "demo") -> None:
    """Draw one figure from stored measurements."""
    _render("figure", item, suite)


@command()
def table(item: ItemName, suite: Suite = "demo") -> None:
    """Write one table from stored measurements."""
    _render("table", item, suite)


def _render(kind: str, item: str, suite: str) -> None:
    from bench.report.items import ITEMS, code_of
    from bench.report.render import render

    if item in ITEMS:  # render names the nearest if it is not
        check_code(*code_of(item))
    stem = render(item, suite, kind)
    say(f"{stem}{'.pdf and .png' if kind == 'figure' else '.csv, .md, .tex and .html'}")


@command()
def items(
    suite: Annotated[
        list[str] | None, suite_option("Suite; repeatable.", show_default="all measured")
    ] = None,
) -> None:
    """Draw all items that suites list from stored measurements; name those that need unfinished runs."""
    suites = suite or paths.measured_suites()
    with ProcessPoolExecutor(max(1, min(len(suites), os.cpu_count() or 1))) as pool:
        drawn = pool.map(_draw_listed, suites) if len(suites) > 1 else map(_draw_listed, suites)
        lacking = [item for found in drawn for item in found]
    if lacking:
        raise BenchError(f"{len(lacking)} items lack measurements: {', '.join(lacking)}.")
    if not suites:
        raise BenchError("No suite was measured here and none is stored; run `snakemake --cores 2 all`.")


def _draw_listed(suite: str) -> list[str]:
    """Draw what a suite lists, as far as it was measured; return the items that are missing for other reasons."""
    from bench.report.context import Context
    from bench.report.items import ITEMS
    from bench.report.render import Unmeasured, render

    lacking = []
    for item in Context(suite, "").plan["items"]:
        try:
            say(f"{render(item, suite, ITEMS[item].kind)}")
        except Unmeasured as error:
            say(str(error))
        except BenchError as error:
            lacking.append(f"{suite}: {item}")
            say(str(error))
    return lacking


@command()
def claims(
    suite: Annotated[
        str | None, suite_option("Name of the suite.", show_default="printed numbers only")
    ] = None,
    json_: Json = False,
) -> None:
    """Test the papers' claims on printed numbers and on a suite's measurements."""
    from bench.report.context import Context
    from bench.report.items import ITEMS
    from bench.report.tables.tabClaims import judged, numbers

    context = Context(suite, "tabClaims") if suite else None
    found = judged(context)
    if json_:
        print(numbers(found).to_json(orient="records", indent=1))
        return
    for key, (claim, verdicts) in found.items():
        print(f"{key}\t{verdicts['printed'].word}\t{verdicts['measured'].word}\t{claim.sentence}")
        for side, verdict in verdicts.items():
            if verdict.cells:
                print(f"  {side}: {verdict.text()}")
    say(f"{len(found)} claims; printed numbers first, then those of {suite or 'no suite'}")
    if context and (note := context.stale(ITEMS["tabClaims"].measures)):
        say(note.strip())


@command()
def quality(suite: Suite = "demo") -> None:
    """Check a suite's measurements for impossible values."""
    from bench.report.context import Context
    from bench.report.items import ITEMS
    from bench.report.quality import FAIL, NOTE, judge
    from bench.report.tables.tabQuality import table_of

    context = Context(suite, "tabQuality")
    findings = judge(context)
    table, stem = table_of(context, findings), paths.suite_folder(suite) / "quality"
    table.caption += f" {context.scope}{context.stale(ITEMS['tabQuality'].measures)}"
    table.write(str(stem))
    for finding in findings:
        if finding.verdict in (FAIL, NOTE):
            print(f"{finding.verdict}\t{finding.run}\t{finding.check}\t{finding.text}")
    say(f"{table.caption} All checks: {stem}.csv, {stem}.md")
    if failed := [f for f in findings if f.verdict == FAIL]:
        raise BenchError(
            f"{len(failed)} checks of suite {suite!r} failed, the first: {failed[0].run}: {failed[0].text}; "
            f"see {stem}.md."
        )

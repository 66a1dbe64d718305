"""Draw one item and write it with sidecars: caption, inputs and their hashes. The same inputs give the same bytes."""

from __future__ import annotations

import importlib
from pathlib import Path

from bench.report.context import MARKS, Context
from bench.report.items import ITEMS, Item, stem_of
from bench.report.markup import restructured
from bench.results.training_state import MEANINGS
from bench.support.errors import BenchError, nearest
from bench.support.files import sha256, write_json, write_text


class Unmeasured(BenchError):
    """An item cannot be drawn yet: runs that the suite plans for it were not measured."""


def render(name: str, suite: str, kind: str) -> Path:
    """Draw item ``name`` of a suite; return the stem of the files that were written.

    Raises BenchError for an unknown item, or where the tidy table lacks what it needs; Unmeasured if the suite is
    unfinished.
    """
    known = [item for item in ITEMS if ITEMS[item].kind == kind]
    if name in ITEMS and name not in known:
        raise BenchError(f"{name} is a {ITEMS[name].kind}; `bench {ITEMS[name].kind} {name}` makes it.")
    if name not in known:
        raise BenchError(f"There is no {kind} {name!r}{nearest(name, known)}; known: {', '.join(known)}.")
    item, context = ITEMS[name], Context(suite, name)
    context.plan  # noqa: B018 - a suite that was never measured is refused first
    stem = stem_of(name, suite)
    try:
        if kind == "figure":
            caption = _figure(context, item, stem)
        else:
            table = importlib.import_module(item.module).build(context)
            caption = table.caption = _complete(context, item, table.caption)
            table.write(str(stem))
    except BenchError as error:
        if missing := next(filter(None, map(context.missing, item.measures)), ""):
            raise Unmeasured(f"{error}{missing}") from error
        raise
    inputs = {str(path): sha256(path) for path in dict.fromkeys(context.inputs)}
    record = {"item": item.title, "subject": item.subject, "suite": suite, "caption": caption}
    write_text(f"{stem}.rst", restructured(caption))
    write_json(f"{stem}.json", record | {"from_baseline": context.from_baseline, "inputs": inputs})
    return stem


def _figure(context: Context, item: Item, stem: Path) -> str:
    from bench.report import style

    with style.sheet():
        figure, caption = importlib.import_module(item.module).draw(context)
        style.save(figure, str(stem))
    return _complete(context, item, caption)


def _complete(context: Context, item: Item, caption: str) -> str:
    """Return a caption with what every item says of its runs: budget, source, what is missing, what is out of date."""
    marks = "".join(
        f" {sign.strip()} {word}: {MEANINGS[word]}." for word, sign in MARKS.items() if word in context.marked
    )
    rest = (
        f" {context.scope}{context.missing(item.measures[0])}{context.stale(item.measures)}"
        if item.measures
        else ""
    )
    return " ".join(caption.split()) + marks + rest

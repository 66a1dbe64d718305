"""Draw one item and write it with sidecars: caption, inputs and their hashes. The same inputs give the same bytes."""

from __future__ import annotations

import importlib
from pathlib import Path

from bench.report.context import Context
from bench.report.html import restructured
from bench.report.items import ITEMS
from bench.support import paths
from bench.support.errors import BenchError, nearest
from bench.support.files import sha256, write_json, write_text


def render(name: str, suite: str, kind: str) -> Path:
    """Draw item ``name`` of a suite; return the stem of the files that were written.

    Raises BenchError for an unknown item, or where the tidy table lacks what it needs.
    """
    known = [item for item in ITEMS if ITEMS[item].kind == kind]
    if name not in known:
        raise BenchError(f"There is no {kind} {name!r}{nearest(name, known)}; known: {', '.join(known)}.")
    item, context = ITEMS[name], Context(suite, name)
    context.plan  # noqa: B018 - a suite that was never measured is refused first
    module = importlib.import_module(item.module)
    folder = paths.figures_folder(suite) if kind == "figure" else paths.tables_folder(suite)
    stem = folder / name
    if kind == "figure":
        from bench.report.style import save

        figure, caption = module.draw(context)
        save(figure, str(stem))
    else:
        table = module.build(context)
        caption = table.caption
    if item.counterpart:
        caption += f" The paper's own shows {item.counterpart}."
    if item.measures:
        caption += context.missing(item.measures[0])
    caption += context.stale(item.measures)
    if kind == "table":
        table.caption = caption
        table.write(str(stem))
    inputs = {str(path): sha256(path) for path in dict.fromkeys(context.inputs)}
    record = {"item": item.title, "subject": item.subject, "suite": suite, "caption": caption}
    record["from_baseline"] = context.from_baseline
    write_text(f"{stem}.rst", restructured(caption))
    write_json(f"{stem}.json", record | {"inputs": inputs})
    return stem

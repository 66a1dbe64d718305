"""The protocol table: every setting of a suite, and whether the paper states it, or it is assumed, or ours."""

from __future__ import annotations

import pandas as pd

from bench import plan
from bench.report.context import Context
from bench.report.tables.table import Table


def build(context: Context) -> Table:
    """Build a row for each option of the trainings and measurements of a suite, bold where its status is `assumed`."""
    runs = context.plan["runs"]
    cells, bold = [], set()
    for kind, option, default, status, meaning in plan.option_table():
        part = kind.removesuffix("Options").lower()
        used = [run["training"] if part == "training" else run["measure"].get(part) for run in runs]
        values = [_text(value.get(option, default)) for value in used if value is not None]
        if not values:
            continue
        if status == "assumed":
            bold.add((len(cells), 4))
        own = " or ".join(dict.fromkeys(values))
        cells.append([part, option, own, _text(default), status, meaning])
    frame = pd.DataFrame(cells, columns=["Part", "Option", "This suite", "Default", "Status", "Meaning"])
    counts = frame["Status"].value_counts()
    caption = (
        f"Settings of suite {context.suite}, and where each default comes from: paper (read in or recovered from An et al. "
        f"2024: {counts.get('paper', 0)}), assumed (the paper does not say, in bold: {counts.get('assumed', 0)}), ours "
        f"({counts.get('ours', 0)}). Where runs differ, all values are given."
    )
    return Table(frame, frame.copy(), caption, bold, columns="llp{2.6cm}llp{5cm}")


def _text(value: object) -> str:
    if isinstance(value, bool) or value is None:
        return str(value).lower() if value is not None else "null"
    if isinstance(value, float):
        return f"{value:g}"
    return (", ".join(map(str, value)) or "none") if isinstance(value, list) else str(value)

"""Settings, and which are assumed."""

from __future__ import annotations

import re
from collections import Counter

import pandas as pd

from bench.report.context import Context
from bench.report.items import Item
from bench.report.table import Table
from bench.suite import plan

ITEM = Item("Protocol", group="Claims, quality, protocol")


def build(context: Context) -> Table:
    """Build a row for each option of the trainings and measurements of a suite, bold where its status is `assumed`."""
    cells: list[list[str]] = []
    bold = set()
    for kind, option, default, status, meaning in plan.option_table():
        part = kind.removesuffix("Options").lower()
        used = [
            (label, _text(values.get(option, default), meaning)) for label, values in _used(context, part)
        ]
        if not used:
            continue
        if status == "assumed":
            bold.add((len(cells), 4))
        cells.append([part, option, _by_model(used), _text(default, meaning), status, meaning])
    frame = pd.DataFrame(cells, columns=["Part", "Option", "This suite", "Default", "Status", "Meaning"])
    counts = frame["Status"].value_counts()
    caption = (
        f"Settings of suite {context.suite}, and where each default comes from: paper (read in or recovered from An "
        f"et al. 2024: {counts.get('paper', 0)}), assumed (the paper does not say, in bold: "
        f"{counts.get('assumed', 0)}), ours ({counts.get('ours', 0)}). If runs differ, the models of the rarer "
        "values are named, with 'in part' if only some runs of a model have them."
    )
    return Table(frame, frame.copy(), caption, bold, groups=1)


def _used(context: Context, part: str) -> list[tuple[str, dict]]:
    """Return (model for readers, options) of every run that has this part; controls are not trained."""
    found = []
    for run in context.plan["runs"]:
        label = context.label(run["model"]["name"]) + (f" ({run['recipe']})" if run["recipe"] else "")
        if part != "training":
            found.append((label, run["measure"].get(part)))
        elif not context.is_control(run["model"]["name"]):
            found.append((label, run["training"]))
    return [(label, options) for label, options in found if options is not None]


def _by_model(used: list[tuple[str, str]]) -> str:
    """Return the value of all runs, or each rarer value with its models and then the most common one."""
    (common, _), *rarer = Counter(value for _, value in used).most_common()
    parts = []
    for rare, _ in rarer:
        labels = dict.fromkeys(label for label, value in used if value == rare)
        others = {label for label, value in used if value != rare}
        parts.append(f"{rare} ({', '.join(f'{o} in part' if o in others else o for o in labels)})")
    return "; ".join([*parts, f"else {common}"]) if parts else common


def _text(value: object, meaning: str = "") -> str:
    """Return a value for readers; ``null`` is replaced by what its description says that it means."""
    if value is None:
        stands = re.search(r"null (?:is|takes) ([^;,]+)", meaning)
        return stands[1] if stands else "not used"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, dict):
        return ", ".join(f"{key} {_text(inner)}" for key, inner in value.items() if inner is not None)
    return (", ".join(map(str, value)) or "none") if isinstance(value, list) else str(value)

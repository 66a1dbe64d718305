"""Impossible numbers, and runs that have not settled."""

from __future__ import annotations

import dataclasses
import math

import pandas as pd

from bench.report.context import RUN, Context
from bench.report.items import Item
from bench.report.quality import FAIL, NOTE, PASS, UNCHECKED, Finding, judge
from bench.report.table import Table

ITEM = Item("Quality", arrays=("psnr",), measures=("every",), group="Claims, quality, protocol")

SHOWN = (FAIL, NOTE)


def build(context: Context) -> Table:
    """Build a row for each check, model and dataset with failures or notes, failures first."""
    return table_of(context, judge(context))


def table_of(context: Context, findings: list[Finding]) -> Table:
    """Return the report of these findings."""
    specs = {run["name"]: run for run in context.plan["runs"]}
    shown = [f for verdict in SHOWN for f in findings if f.verdict == verdict]
    groups: dict[tuple, list[Finding]] = {}
    for finding in shown:
        groups.setdefault(_group(context, specs, finding, shown), []).append(finding)
    order = sorted(groups, key=lambda group: (SHOWN.index(group[3]), group[2]))
    cells = [_cells(specs, group, groups[group]) for group in order]
    heads = ["Dataset", "Model", "Check", "Verdict", "Runs", "Measured", "Compared with", "First case"]
    bold = {(i, 3) for i, (*_, verdict) in enumerate(order) if verdict == FAIL}
    frame = pd.DataFrame(cells or [["Nothing to note", *[""] * 7]], columns=heads)
    caption = _caption(context, findings)
    return Table(frame, _numbers(specs, findings), caption, bold, groups=1)


def _group(context: Context, specs: dict, finding: Finding, shown: list[Finding]) -> tuple:
    """Return (dataset, model, check, verdict) for readers; a sentence common to all is given once."""
    spec, same = specs[finding.run], [f for f in shown if f.check == finding.check]
    datasets, models = ({_names(context, specs[f.run])[i] for f in same} for i in (0, 1))
    where = _names(context, spec)
    if len({f.text for f in same}) == 1 < len(models):
        where = where[0] if len(datasets) == 1 else f"{len(datasets)} datasets", f"{len(models)} models"
    return *where, finding.check, finding.verdict


def _names(context: Context, spec: dict) -> tuple[str, str]:
    recipe = f" ({spec['recipe']})" if spec["recipe"] else ""
    return context.title(spec["dataset"]), context.label(spec["model"]["name"]) + recipe


def _cells(specs: dict, group: tuple, found: list[Finding]) -> list[str]:
    spec, unit = specs[found[0].run], found[0].unit
    ranges = [_range([getattr(f, side) for f in found], unit) for side in ("value", "bound")]
    first = f"N = {spec['train_size']:,}, shuffle {spec['shuffle']}: {found[0].text}"
    return [*group, str(len(found)), *ranges, first]


def _range(values: list[float], unit: str) -> str:
    """Return the least and the greatest value in words; empty where a check is a sentence without a number."""
    values = [value for value in values if not math.isnan(value)]
    if not values:
        return ""
    ends = dict.fromkeys(
        f"{value:.2f}" if unit == "dB" else f"{value:.3g}" for value in (min(values), max(values))
    )
    return f"{' to '.join(ends)} {unit}".strip().replace("-", "−")


def _numbers(specs: dict[str, dict], findings: list[Finding]) -> pd.DataFrame:
    records = []
    for finding in findings:
        spec = specs[finding.run]
        where = {key: spec["model"]["name"] if key == "model" else spec[key] for key in RUN}
        records.append(where | dataclasses.asdict(finding))
    columns = [*RUN, *(f.name for f in dataclasses.fields(Finding) if f.name != "run")]
    return pd.DataFrame(records, columns=["run", *columns])[columns]


def _caption(context: Context, findings: list[Finding]) -> str:
    counts = {
        verdict: sum(f.verdict == verdict for f in findings) for verdict in (PASS, NOTE, FAIL, UNCHECKED)
    }
    missing = sorted({f.text for f in findings if f.verdict == UNCHECKED})
    unchecked = f" Not checked: {'; '.join(missing)}." if missing else ""
    return (
        f"Quality of {len({f.run for f in findings})} runs: {counts[PASS]} checks passed, {counts[NOTE]} noted, "
        f"{counts[FAIL]} failed, {counts[UNCHECKED]} could not be made. A check fails only what is impossible; a "
        "note marks a run that has not settled or an unusual pool. Runs: those that failed or were noted, with the "
        f"range of the values and of their bounds.{unchecked}"
    )

"""The quality report of a suite: what cannot be, and what is undertrained. All checks stand in the CSV."""

from __future__ import annotations

import dataclasses

import pandas as pd

from bench.report.context import Context
from bench.report.quality import FAIL, KEYS, NOTE, PASS, UNCHECKED, Finding, judge
from bench.report.tables.table import Table

SHOWN = (FAIL, NOTE)


def build(context: Context) -> Table:
    """Build a row for each failed check and each note, failures first."""
    return table_of(context, judge(context))


def table_of(context: Context, findings: list[Finding]) -> Table:
    """Return the report of these findings."""
    specs = {run["name"]: run for run in context.plan["runs"]}
    shown = sorted((f for f in findings if f.verdict in SHOWN), key=lambda f: SHOWN.index(f.verdict))
    cells = [_cells(context, specs[f.run], f) for f in shown]
    heads = ["Dataset", "Model", "N", "Shuffle", "Check", "Verdict", "Finding"]
    bold = {(i, 5) for i, f in enumerate(shown) if f.verdict == FAIL}
    frame = pd.DataFrame(cells, columns=heads)
    return Table(frame, _numbers(specs, findings), _caption(context, findings), bold, columns="llrrllp{6cm}")


def _cells(context: Context, spec: dict, finding: Finding) -> list[str]:
    model = context.label(spec["model"]["name"]) + (f" ({spec['recipe']})" if spec["recipe"] else "")
    size = f"{spec['train_size']:,}"
    where = [context.title(spec["dataset"]), model, size, str(spec["shuffle"])]
    return [*where, finding.check, finding.verdict, finding.text]


def _numbers(specs: dict[str, dict], findings: list[Finding]) -> pd.DataFrame:
    records = []
    for finding in findings:
        spec = specs[finding.run]
        where = {key: spec["model"]["name"] if key == "model" else spec[key] for key in KEYS}
        records.append(where | dataclasses.asdict(finding))
    columns = [*KEYS, *(f.name for f in dataclasses.fields(Finding) if f.name != "run")]
    return pd.DataFrame(records, columns=["run", *columns])[columns]


def _caption(context: Context, findings: list[Finding]) -> str:
    counts = {
        verdict: sum(f.verdict == verdict for f in findings) for verdict in (PASS, NOTE, FAIL, UNCHECKED)
    }
    missing = sorted({f.text for f in findings if f.verdict == UNCHECKED})
    unchecked = f" Not checked: {'; '.join(missing)}." if missing else ""
    return (
        f"Quality of {len({f.run for f in findings})} runs: {counts[PASS]} checks passed, {counts[NOTE]} noted, "
        f"{counts[FAIL]} failed, {counts[UNCHECKED]} could not be made. A check fails only what is impossible; a note "
        f"says that a run is undertrained or a pool peculiar.{unchecked} {context.scope}"
    )

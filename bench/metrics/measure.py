"""Measure one metric of one run and write it: rows for the tidy table, arrays for what is looked at."""

from __future__ import annotations

import importlib
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from bench.jobs.run import Run
from bench.results.tidy import COLUMNS, METRICS, check
from bench.suite.options import RunSpec
from bench.support.files import digest, save_arrays, write_json, write_text
from bench.support.options import to_dict
from bench.support.provenance import environment


@dataclass
class Measurement:
    """Rows (dicts with metric, value and, where they apply, split, index_name, index, protocol) and arrays."""

    rows: list[dict] = field(default_factory=list)
    arrays: dict[str, np.ndarray] | None = None

    def add(
        self,
        metric: str,
        value: float,
        split: str = "",
        index_name: str = "",
        index: int | None = None,
        protocol: str = "",
    ) -> None:
        """Append one number."""
        row = {"metric": metric, "value": float(value), "unit": METRICS[metric][0], "split": split}
        self.rows.append(row | {"index_name": index_name, "index": index, "protocol": protocol})


def finish(rows: list[dict], spec: RunSpec, code: str, data_hash: str) -> pd.DataFrame:
    """Return rows with their identity columns, in the tidy table's order."""
    same = {key: getattr(spec, key) for key in ("suite", "dataset", "train_size", "shuffle", "recipe")}
    table = pd.DataFrame(rows, columns=[c for c in COLUMNS if c not in (*same, "model", "code", "data_hash")])
    table = table.assign(**same, model=spec.model.name, code=code, data_hash=data_hash)
    table["index"] = table["index"].astype("Int64")
    return table[COLUMNS]


def measure_run(metric: str, run: Run, spec: RunSpec, codes: dict[str, str]) -> None:
    """Measure ``metric`` of ``run`` with the options of ``spec``; write METRIC.csv and METRIC.npz into its folder.

    ``codes`` are the fingerprints of the rules behind the number, by rule. METRIC.json beside it says which code,
    options, device and versions measured it; the rows carry the digest of all fingerprints.
    """
    folder, device = run.folder, run.device
    options = getattr(spec.measure, metric, None)
    found: Measurement = importlib.import_module(f"bench.metrics.{metric}").measure(run, options)
    codes = {**codes, "train": run.code}
    table = check(finish(found.rows, spec, digest(codes), run.data_hash), f"{metric} of {spec.name}")
    record = {
        "code": codes,
        "options": to_dict(options) if options else None,
        "provenance": environment(device),
    }
    write_json(folder / f"{metric}.json", record)
    if found.arrays is not None:
        save_arrays(folder / f"{metric}.npz", **found.arrays)
    write_text(folder / f"{metric}.csv", table.to_csv(index=False))

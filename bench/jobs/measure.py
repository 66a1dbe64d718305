"""Measure a run: one metric alone, or all that its suite asks for in one process."""

from __future__ import annotations

import importlib
from pathlib import Path

import numpy as np
import pandas as pd

from bench.data.dataset import open_dataset
from bench.jobs.run import Run
from bench.metrics.declare import Result, measurements
from bench.metrics.numerics.features import open_space
from bench.metrics.numerics.reference import reference_statistics
from bench.results.tidy import COLUMNS, METRICS, check
from bench.suite.options import RunSpec
from bench.suite.plan import Plan
from bench.support import paths
from bench.support.arrays import save_arrays
from bench.support.console import say
from bench.support.errors import BenchError
from bench.support.files import digest, write_json, write_text
from bench.support.options import to_dict
from bench.support.provenance import environment


def measure_all(suite: Plan, name: str, device: str) -> None:
    """Measure all that a suite asks of a run, reference statistics included, in this process."""
    options = suite.run(name).measure.frechet
    if options is not None:
        wanted = suite.run(name).dataset, options.space, options.pool, options.reference
        if not paths.reference_file(*wanted).exists():
            write_reference(*wanted, device)
    measure(suite, name, suite.metrics(name), device)


def measure(suite: Plan, name: str, metrics: list[str], device: str) -> None:
    """Measure ``metrics`` of a run into METRIC.csv and METRIC.npz of its folder."""
    spec = suite.run(name)
    run = Run(paths.run_folder(spec.suite, name), device)  # loaded once for all metrics
    for metric in metrics:
        say(f"{name}: {metric}")
        measure_run(metric, run, spec, suite.codes(metric, name))


def write_reference(name: str, features: str, pool: str, count: int | None, device: str) -> None:
    """Write the reference statistics of a dataset's pool, over ``count`` images or all (None)."""
    dataset = open_dataset(paths.dataset_folder(name))
    space = open_space(features, dataset.manifest["channels"], device)
    out = paths.reference_file(name, features, pool, count)
    save_arrays(out, **reference_statistics(dataset, space, pool, count))


def finish(rows: list[dict], spec: RunSpec, code: str, data_hash: str) -> pd.DataFrame:
    """Return rows with their units and identity columns, in the tidy table's order."""
    same = {key: getattr(spec, key) for key in ("suite", "dataset", "train_size", "shuffle", "recipe")}
    table = pd.DataFrame(rows, columns=[c for c in COLUMNS if c not in (*same, "model", "code", "data_hash")])
    table = table.assign(**same, model=spec.model.name, code=code, data_hash=data_hash)
    table["unit"] = [METRICS[metric].unit for metric in table["metric"]]
    table["index"] = table["index"].astype("Int64")
    return table[COLUMNS]


def measure_run(metric: str, run: Run, spec: RunSpec, codes: dict[str, str]) -> None:
    """Measure ``metric`` of ``run`` with the options of ``spec``; write METRIC.csv and METRIC.npz into its folder.

    ``codes`` are the fingerprints of the rules behind the number, by rule. METRIC.json beside it says which code,
    options, device and versions measured it; the rows carry the digest of all fingerprints.
    """
    folder, device = run.folder, run.device
    options = getattr(spec.measure, metric, None)
    needed = {name: _read(folder / f"{name}.npz") for name in measurements()[metric].needs}
    found: Result = importlib.import_module(f"bench.metrics.{metric}").measure(run, options, **needed)
    codes = {**codes, "train": run.code}
    table = check(finish(found.rows, spec, digest(codes), run.data_hash), f"{metric} of {spec.name}")
    record = {
        "code": codes,
        "options": to_dict(options) if options else None,
        "provenance": environment(device),
    }
    write_json(folder / f"{metric}.json", record)
    save_arrays(folder / f"{metric}.npz", **found.arrays)
    write_text(folder / f"{metric}.csv", table.to_csv(index=False))


def _read(file: Path) -> Result:
    try:
        with np.load(file, allow_pickle=False) as arrays:
            return Result(arrays=dict(arrays))
    except (OSError, ValueError, EOFError) as error:
        raise BenchError(f"{file} is missing or damaged ({error}); measure {file.stem} again.") from error

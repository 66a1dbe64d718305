"""Measure a run: what is out of date of its measurements, in one process.

Each measurement's result is kept in the state folder of the training, ``.runs/SUITE/RUN/DIGEST/measured/METRIC``, with
what it depends on: code, options, data, weights, and the results that it reads.  The declared table of a run,
``measurements.csv``, and its arrays are put together from these.
"""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from bench.metrics.declare import LeftOut, Result, measurements
from bench.results import records
from bench.results.tidy import COLUMNS, METRICS, check
from bench.suite.options import RunSpec, trained_spec
from bench.suite.plan import Plan
from bench.support import paths
from bench.support.arrays import save_arrays
from bench.support.console import say
from bench.support.errors import BenchError
from bench.support.files import digest, read_json, refuse_future, sha256, write_json, write_text
from bench.support.provenance import environment
from bench.training.options import recipe

if TYPE_CHECKING:
    from bench.jobs.run import Run


class Job:
    """The measurements of one run: ``wanted`` says by metric what its current result depends on."""

    def __init__(self, suite: Plan, name: str, device: str) -> None:
        self.suite, self.spec, self.device = suite, suite.run(name), device
        self.folder = paths.run_folder(suite.suite, name)
        self.trained = read_json(self.folder / "run.json")
        self._check_recipe()
        self.state = paths.state_root(suite.suite, name) / self.trained["digest"] / "measured"
        self.wanted = wanted(suite, name, self.trained)
        refuse_future(*self._inputs())
        self._run: Run | None = None

    def _inputs(self) -> list[Path]:
        """Return the files that the workflow gives to a measurement."""
        dataset, name = self.spec.dataset, self.spec.name
        return [
            *(self.folder / file for file in ("run.json", "history.csv", "weights.safetensors")),
            paths.dataset_folder(dataset) / "manifest.json",
            paths.subset_file(dataset, self.spec.shuffle),
            *(
                paths.reference_file(*one)
                for metric in self.wanted
                for one in self.suite.references(metric, name)
            ),
        ]

    def _check_recipe(self) -> None:
        if digest(recipe(trained_spec(self.trained))) != self.suite.recipe(self.spec.name):
            raise BenchError(
                f"{self.folder} was trained with other options than suite {self.suite.suite!r} has now; train it again: "
                f"`bench train {self.spec.name} --suite {self.suite.suite}` (`bench why` names the options)."
            )

    def current(self, metric: str) -> bool:
        """Whether the stored result of a measurement is what would be measured now."""
        return _depends(self.state / metric / "record.json") == self.wanted[metric]

    def take(self, metric: str) -> None:
        """Take one measurement into the state folder: arrays, rows, then the record."""
        from bench.jobs.adopted import open_run, take
        from bench.jobs.references import open_reference

        say(f"{self.spec.name}: {metric}")
        began = time.monotonic()
        self._run = self._run or open_run(self.folder, self.device)  # loaded once for all measurements
        one, options = measurements()[metric], getattr(self.spec.measure, metric, None)
        given: dict[str, Any] = {name: _read_result(self.state / name) for name in one.needs}
        for reference in self.suite.references(metric, self.spec.name):
            given[reference.kind] = open_reference(reference, self.device)
        found, reason = Result(), None
        try:
            found = take(self._run, metric, options, **given)
        except LeftOut as error:
            reason = str(error)
            say(f"{self.spec.name}: {metric} is left out: {reason}")
        depends, place = self.wanted[metric], self.state / metric
        table = finish(found.rows, self.spec, digest(depends["code"]), depends["data"])
        check(table, f"{metric} of {self.spec.name}")
        (place / "record.json").unlink(missing_ok=True)
        save_arrays(place / "arrays.npz", **found.arrays)
        write_text(place / "rows.csv", table.to_csv(index=False))
        seconds = round(time.monotonic() - began, 2)
        record = {"depends": depends, "left_out": reason, "seconds": seconds}
        write_json(place / "record.json", record | {"provenance": environment(self.device)})

    def publish(self) -> None:
        """Put the declared files together: arrays, records, and the table last."""
        table, record_file = paths.measured_files(self.suite.suite, self.spec.name)
        with tempfile.TemporaryDirectory(dir=self.folder, prefix=".arrays.") as temporary:
            new, out = Path(temporary) / "new", paths.arrays_folder(self.suite.suite, self.spec.name)
            new.mkdir()
            for metric in self.wanted:
                if _array_names(self.state / metric / "arrays.npz"):
                    shutil.copy2(self.state / metric / "arrays.npz", new / f"{metric}.npz")
            shutil.rmtree(out, ignore_errors=True)
            new.rename(out)
        write_json(
            record_file, {metric: read_json(self.state / metric / "record.json") for metric in self.wanted}
        )
        parts = [(self.state / metric / "rows.csv").read_text(encoding="utf-8") for metric in self.wanted]
        header = parts[0].splitlines(keepends=True)[0]
        write_text(table, header + "".join(part.split("\n", 1)[1] for part in parts))


def measure(suite: Plan, name: str, device: str, only: str | None = None) -> list[str]:
    """Take what is out of date of a run's measurements, or ``only`` one of them in any case; return what is left.

    Where nothing is left, the run's table and arrays are written.  Raises BenchError if the run is not trained, or
    with another recipe than the suite's.
    """
    job = Job(suite, name, device)
    if only is not None and only not in job.wanted:
        raise BenchError(f"Suite {suite.suite!r} does not measure {only} of {name}; add it under `measure`.")
    for metric in job.wanted if only is None else (*measurements()[only].needs, only):
        if metric == only or not job.current(metric):
            job.take(metric)
    left = [metric for metric in job.wanted if not job.current(metric)]
    if not left:
        job.publish()
    return left


def wanted(suite: Plan, name: str, trained: dict) -> dict[str, dict]:
    """Return by metric what a run's current measurement depends on; ``weights`` is None if they are not here."""
    spec, found, own = suite.run(name), records.depends(suite, name, trained), _weights(suite, name)
    for metric, what in found.items():
        one = measurements()[metric]
        what["weights"] = [own, _weights(suite, spec.partner)] if one.partner else [own]
        what["needs"] = {needed: digest(found[needed]) for needed in one.needs}
    return found


def _weights(suite: Plan, name: str) -> str | None:
    file = paths.run_folder(suite.suite, name) / "weights.safetensors"
    return sha256(file)[:16] if file.exists() else None


def _depends(file: Path) -> dict | None:
    """Return what a stored result depends on; None if there is none, or its record is damaged."""
    try:
        return read_json(file)["depends"] if file.exists() else None
    except (BenchError, KeyError):
        return None


def _read_result(place: Path) -> Result:
    with np.load(place / "arrays.npz", allow_pickle=False) as arrays:
        return Result(arrays=dict(arrays))


def _array_names(file: Path) -> list[str]:
    with np.load(file, allow_pickle=False) as arrays:
        return arrays.files


def finish(rows: Iterable[dict], spec: RunSpec, code: str, data_hash: str) -> pd.DataFrame:
    """Return rows with their units and identity columns, in the tidy table's order."""
    same = {key: getattr(spec, key) for key in ("suite", "dataset", "train_size", "shuffle", "recipe")}
    table = pd.DataFrame(rows, columns=[c for c in COLUMNS if c not in (*same, "model", "code", "data_hash")])
    table = table.assign(**same, model=spec.model.name, code=code, data_hash=data_hash)
    table["unit"] = [METRICS[metric].unit for metric in table["metric"]]
    table["index"] = table["index"].astype("Int64")
    return table[COLUMNS]

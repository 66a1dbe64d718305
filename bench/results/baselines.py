"""Stored baselines: the measurements of a suite that are committed, with the provenance of every row. Torch-free.

``results/baselines/SUITE/`` holds ``plan.json``, ``tidy.csv.gz``, ``provenance.json`` and, for the pictures,
``arrays/RUN/METRIC.npz``.  Of a dataset that may not be passed on, numbers and attention maps are kept, and nothing
that shows its images.
"""

from __future__ import annotations

import tempfile
from collections.abc import Container, Iterable
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd

from bench.results.tidy import COLUMNS, KEY, read_tidy
from bench.suite.options import trained_spec
from bench.suite.plan import Plan
from bench.support import paths
from bench.support.arrays import save_arrays
from bench.support.errors import BenchError
from bench.support.files import atomic, digest, read_json, write_json
from bench.support.options import to_dict
from bench.support.provenance import environment
from bench.training.options import recipe

PICTURES = (
    "images",
    "noisy",
    "eigenvectors",
    "samples",
    "nearest",
)  # arrays that show images, by the start of a key
SAMPLES = 16  # generated images that are kept of a run


def promote(suite: Plan) -> Path:
    """Copy the measurements of a whole suite into its baselines; return their folder.

    Raises BenchError where a measurement is missing, was made by uncommitted code, or does not say what made it;
    the baselines that were there stay as they were.
    """
    target = paths.baselines_folder(suite.suite)
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=f".{suite.suite}.") as name:
        new = Path(name) / suite.suite
        records, tables, places = {}, [], _Places()
        for run in suite.runs:
            records[run], table = _record(suite, run, places)
            tables.append(table)
            _keep_arrays(suite, run, new / "arrays" / run)
        table = pd.concat(tables, ignore_index=True)
        file = new / paths.baseline_table(suite.suite).name
        with atomic(file) as temporary:  # no time stamp: the same numbers are the same bytes
            table.to_csv(temporary, index=False, compression={"method": "gzip", "mtime": 0})
        read_tidy(file)
        write_json(new / "plan.json", suite.summary())
        write_json(new / "provenance.json", {"environments": places.environments, "runs": records})
        if target.exists():
            target.rename(Path(name) / "before")
        new.rename(target)
    return target


def _record(suite: Plan, run: str, places: _Places) -> tuple[dict, pd.DataFrame]:
    """Return the provenance of one run, and its rows."""
    folder = paths.run_folder(suite.suite, run)
    trained = read_json(folder / "run.json")
    if digest(recipe(trained_spec(trained))) != suite.recipe(run):
        raise BenchError(
            f"{folder / 'run.json'} was trained with other options than suite {suite.suite!r} has now; run the suite again."
        )
    record = {
        "recipe": suite.recipe(run),
        "data": trained["data"]["sha256"],
        "seconds": trained["result"]["seconds"],
        "train": {
            "code": trained["code"]["fingerprint"],
            **places.add(
                folder / "run.json", trained, trained["code"]["fingerprint"] == suite.code("train", run)
            ),
        },
        "metrics": {},
    }
    file, made = paths.measured_files(suite.suite, run)
    table, records = read_tidy(file), read_json(made)
    for metric in suite.metrics(run):
        if metric not in records:
            raise BenchError(f"{made} lacks {metric}; measure it with `bench measure all {run}`.")
        depends = records[metric]["depends"]
        place = places.add(made, records[metric], depends["code"] == suite.codes(metric, run))
        record["metrics"][metric] = {"code": depends["code"], "options": depends["options"], **place}
    known = {digest(made["code"]) for made in record["metrics"].values()}
    if not set(table["code"]) <= known:
        raise BenchError(
            f"{file} was not made by what {made} says; measure again with `bench measure all {run}`."
        )
    return record, table[COLUMNS]


class _Places:
    """Where and when measurements were made; each environment is kept once."""

    def __init__(self) -> None:
        self.environments: list[dict] = []

    @cached_property
    def _here(self) -> dict:
        return environment()["git"]

    def add(self, file: Path, made: dict, same_code: bool) -> dict:
        """Return date and environment (an index) of a record.

        A machine without git knows no commit: the code was committed where its fingerprint is that of the commit here.
        Raises BenchError where the code was not committed.
        """
        found = dict(made.get("provenance") or {})
        git = found.get("git") or {}
        if git and git.get("commit") is None and same_code:
            found["git"] = git = self._here | {"found_by": "fingerprint"}
        if not git.get("commit") or git.get("dirty") is not False:
            raise BenchError(
                f"{file} was made by uncommitted code; commit bench/, delete the file and run the suite again."
            )
        date = found.pop("date")
        for private in ("host", "slurm", "job"):
            found.pop(private, None)
        if found not in self.environments:
            self.environments.append(found)
        return {"date": date, "environment": self.environments.index(found)}


def _keep_arrays(suite: Plan, run: str, out: Path) -> None:
    folder, spec = paths.arrays_folder(suite.suite, run), suite.run(run)
    free = suite.all_datasets[spec.dataset].redistribute
    first = min(s.shuffle for s in suite.runs.values() if s.dataset == spec.dataset)
    for metric in suite.metrics(run):
        if not (folder / f"{metric}.npz").exists() or (metric != "psnr" and spec.shuffle != first):
            continue  # pictures show the first shuffle; intervals need the images of all
        with np.load(folder / f"{metric}.npz", allow_pickle=False) as file:
            arrays = {key: file[key] for key in file if free or not _shows_images(key, file[key])}
        if "samples" in arrays:
            arrays["samples"] = arrays["samples"][:SAMPLES]
        if "maps" in arrays:  # the largest arrays; shown as colours, for which half precision is plenty
            arrays["maps"] = arrays["maps"].astype(np.float16)
        if arrays:
            save_arrays(out / f"{metric}.npz", **arrays)


def _shows_images(key: str, array: np.ndarray) -> bool:
    """Whether an array shows images: by its name, or as it is stored as pixels."""
    return key.startswith(PICTURES) or array.dtype == np.uint8


def stored(suite: str) -> dict:
    """Return ``provenance.json`` of a suite; raises BenchError where it has no baselines, naming those that have."""
    file = paths.baselines_folder(suite) / "provenance.json"
    if not file.exists():
        root = paths.baselines_folder(suite).parent
        known = sorted(f.parent.name for f in root.glob("*/provenance.json"))
        raise BenchError(
            f"Suite {suite!r} has no stored baselines (there are: {', '.join(known) or 'none'}); "
            f"run it and store them with `bench baselines promote --suite {suite}`."
        )
    return read_json(file)


CURRENT = "current"


def status(
    suite: Plan, local_data: bool = True, runs: Container[str] | None = None
) -> dict[tuple[str, str], str]:
    """Return (run, metric) -> 'current', or 'stale: WHY' where code, options or data would now give another number.

    ``local_data=False`` leaves out whether the datasets built in this folder are of another version; ``runs`` are those
    asked for, all by default.
    """
    found = {}
    for run, record in stored(suite.suite)["runs"].items():
        if runs is not None and run not in runs:
            continue
        for metric, made in record["metrics"].items():
            why = (
                _reasons(suite, run, metric, record, made, local_data)
                if run in suite.runs
                else ["not in the suite"]
            )
            found[run, metric] = f"stale: {', '.join(why)}" if why else CURRENT
    return found


def reasons(status: dict[tuple[str, str], str], runs: Iterable[str], metric: str) -> str:
    """Return why the first stale one of these runs' measurements is stale, or an empty string."""
    found = (status.get((run, metric), CURRENT) for run in runs)
    return next((word.removeprefix("stale: ") for word in found if word != CURRENT), "")


def _reasons(suite: Plan, run: str, metric: str, record: dict, made: dict, local_data: bool) -> list[str]:
    spec = suite.run(run)
    found = []
    if record["recipe"] != suite.recipe(run):
        found.append("training options changed")
    wanted = getattr(spec.measure, metric, None)
    if digest(to_dict(wanted) if wanted else None) != digest(made["options"]):
        found.append(f"{metric} options changed" if wanted else "no longer measured")
    now = suite.codes(metric, run)
    changed = [rule for rule in now if now[rule] != made["code"].get(rule)]
    found += [f"code of {rule} changed" for rule in changed]
    manifest = paths.dataset_folder(spec.dataset) / "manifest.json"
    if local_data and manifest.exists() and read_json(manifest)["sha256"] != record["data"]:
        found.append(f"{spec.dataset} is another version here")
    return found


def difference(suite: str) -> pd.DataFrame:
    """Compare ``results/SUITE/tidy.csv`` with the baselines: per metric the rows on either side and the largest change."""
    stored(suite)
    old, new = (read_tidy(f) for f in (paths.baseline_table(suite), paths.tidy_file(suite)))
    both = old.merge(new, on=KEY, how="outer", suffixes=("_old", "_new"), indicator=True)
    both["change"] = (both["value_new"] - both["value_old"]).abs()
    rows = [
        {
            "metric": metric,
            "both": int((part["_merge"] == "both").sum()),
            "baseline_only": int((part["_merge"] == "left_only").sum()),
            "results_only": int((part["_merge"] == "right_only").sum()),
            "largest_change": part["change"].max(),
            "where": _where(part.loc[part["change"].idxmax()]) if part["change"].notna().any() else "",
        }
        for metric, part in both.groupby("metric", sort=False)
    ]
    return pd.DataFrame(rows)


def _where(row: pd.Series) -> str:
    return f"{row['dataset']}.{row['model']}.n{row['train_size']}.s{row['shuffle']}"

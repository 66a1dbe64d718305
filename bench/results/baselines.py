"""Stored baselines: the measurements of a suite that are committed, with the provenance of every row. Torch-free.

``results/baselines/SUITE/`` holds ``plan.json``, ``tidy.csv.gz``, ``provenance.json``, ``priors.json`` (of the variances
of differences) and, for the pictures, ``arrays/RUN/METRIC.npz``.  Of a dataset that may not be redistributed, numbers and
attention maps are kept, and nothing that shows its images.
"""

from __future__ import annotations

import gzip
import shutil
import tempfile
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd

from bench.results.measures import fit_priors
from bench.results.statistics import Prior
from bench.results.tidy import COLUMNS, KEY, read_tidy
from bench.suite.options import trained_spec
from bench.suite.plan import Plan
from bench.support import git, paths, root
from bench.support.arrays import save_arrays
from bench.support.errors import BenchError
from bench.support.files import atomic, digest, read_json, write_json
from bench.training.options import recipe

# Arrays that show images, by the start of their name
PICTURES = ("images", "noisy", "eigenvectors", "samples", "nearest")
SAMPLES = 16  # generated images that are kept of a run
OF_ALL = ("psnr", "samples")  # kept of all shuffles, since intervals and agreement are computed from them


def promote(suite: Plan) -> list[str]:
    """Store the measurements of the suite's finished runs as baselines; return the runs that are not stored yet.

    Runs that are stored already and are not finished here stay, less what the suite no longer measures of them.
    Raises BenchError if no run is finished, or one was made by uncommitted code, with other options than the suite's, or
    of other data than what stays; the baselines that were there are then untouched.
    """
    target = paths.baselines_folder(suite.suite)
    finished = [run for run in suite.runs if all(file.exists() for file in _files(suite.suite, run))]
    before = (
        stored(suite.suite) if (target / "provenance.json").exists() else {"runs": {}, "environments": []}
    )
    kept = {
        run: _still_measured(suite, run, made)
        for run, made in before["runs"].items()
        if run in suite.runs and run not in finished
    }
    if not finished:
        raise BenchError(
            f"No run of suite {suite.suite!r} is finished in this folder; `bench runs` shows their progress."
        )
    places = _Places(before["environments"] if kept else [])
    records, tables = dict(kept), _kept_rows(suite.suite, kept)
    for run in finished:
        records[run], tables[run] = _record(suite, run, places)
    _check_data(suite, records)
    order = [run for run in suite.runs if run in records]
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=f".{suite.suite}.") as name:
        new = Path(name) / suite.suite
        for run in order:
            if run in finished:
                _keep_arrays(suite, run, new / "arrays" / run)
            elif (arrays := paths.baseline_arrays(suite.suite, run)).exists():
                shutil.copytree(arrays, new / "arrays" / run)
        table = pd.concat([tables[run] for run in order], ignore_index=True)
        _write_table(table, new / paths.baseline_table(suite.suite).name)
        summary = suite.summary()
        here = [r for r in summary["runs"] if r["name"] in records]
        lacking = [r for r in summary["runs"] if r["name"] not in records]
        write_json(new / "plan.json", summary | {"runs": here, "unmeasured": lacking})
        accepted = {"accepted": before["accepted"]} if kept and "accepted" in before else {}
        record = {
            "environments": places.environments,
            "runs": {run: records[run] for run in order},
        } | accepted
        write_json(new / "provenance.json", record)
        write_json(new / "priors.json", _written(fit_priors(table)))
        if target.exists():
            target.rename(Path(name) / "before")
        new.rename(target)
    return [run for run in suite.runs if run not in records]


def _files(suite: str, run: str) -> tuple[Path, ...]:
    return paths.run_folder(suite, run) / "run.json", *paths.measured_files(suite, run)


def _kept_rows(suite: str, kept: dict) -> dict[str, pd.DataFrame]:
    """Return the stored rows of each run that stays, of the measurements that stay."""
    if not kept:
        return {}
    table = read_tidy(paths.baseline_table(suite))
    parts = dict([*table.groupby(run_names(table), sort=False)])
    codes = {run: {digest(one["code"]) for one in made["metrics"].values()} for run, made in kept.items()}
    return {run: parts[run][parts[run]["code"].isin(codes[run])] for run in kept}


def _still_measured(suite: Plan, run: str, made: dict) -> dict:
    """Return the provenance of a stored run without the measurements that the suite no longer takes of it."""
    wanted = suite.metrics(run)
    return made | {"metrics": {metric: one for metric, one in made["metrics"].items() if metric in wanted}}


def run_names(table: pd.DataFrame) -> pd.Series:
    """Return the run of each row of a tidy table."""
    size, shuffle, recipe = table["train_size"].astype(str), table["shuffle"].astype(str), table["recipe"]
    name = table["dataset"] + "." + table["model"] + ".n" + size + ".s" + shuffle
    return name.where(recipe == "", name + "." + recipe)


def _check_data(suite: Plan, records: dict) -> None:
    """Refuse runs of one dataset that were made of several versions of it."""
    versions: dict[str, str] = {}
    for run, made in records.items():
        dataset = suite.run(run).dataset
        if versions.setdefault(dataset, made["data"]) != made["data"]:
            raise BenchError(
                f"Stored runs and those finished here ({run}) used different versions of {dataset}; finish all runs "
                f"of {dataset}, or delete {paths.baselines_folder(suite.suite)}, and promote again."
            )


def _record(suite: Plan, run: str, places: _Places) -> tuple[dict, pd.DataFrame]:
    """Return the provenance of one run, and its rows."""
    trained_file, table_file, made_file = _files(suite.suite, run)
    trained, table, made = read_json(trained_file), read_tidy(table_file), read_json(made_file)
    again = f"run it again with `bench train {run} --suite {suite.suite}`"
    if digest(recipe(trained_spec(trained))) != suite.recipe(run):
        raise BenchError(
            f"{trained_file} was trained with other options than suite {suite.suite!r} has now; {again}."
        )
    if unknown := git.uncommitted([Path(file)] if (file := suite.run(run).model.file) else []):
        raise BenchError(
            f"{run}: the model's file {unknown[0]} is not committed in this project; commit it, and {again}."
        )
    code = trained["code"]["fingerprint"]
    record = {
        "recipe": suite.recipe(run),
        "data": trained["data"]["sha256"],
        "seconds": trained["result"]["seconds"],
        "train": {"code": code, **places.add(trained_file, trained, code == suite.code("train", run))},
        "metrics": {},
    }
    for metric in suite.metrics(run):
        if metric not in made:
            raise BenchError(
                f"{made_file} lacks {metric}; `bench measure all {run} --suite {suite.suite}` adds it."
            )
        depends = made[metric]["depends"]
        place = places.add(made_file, made[metric], depends["code"] == suite.codes(metric, run))
        record["metrics"][metric] = {"code": depends["code"], "options": depends["options"], **place}
    if not set(table["code"]) <= {digest(one["code"]) for one in record["metrics"].values()}:
        raise BenchError(
            f"{table_file} does not match {made_file.name}; measure again with "
            f"`bench measure all {run} --suite {suite.suite}`."
        )
    return record, table[COLUMNS]


class _Places:
    """Where and when measurements were made; each environment is kept once."""

    def __init__(self, environments: list[dict]) -> None:
        self.environments = list(environments)
        self._known: dict[str, bool] = {}

    @cached_property
    def _here(self) -> dict:
        return git.state()

    def add(self, file: Path, made: dict, same_code: bool) -> dict:
        """Return date and environment (an index) of a record.

        A machine without git knows no commit: the code was committed where its fingerprint is that of the commit here.
        Raises BenchError if no commit of this repository holds the code.
        """
        found = dict(made.get("provenance") or {})
        place = found.get("git") or {}
        if place and place.get("commit") is None and same_code:
            found["git"] = place = self._here | {"found_by": "fingerprint"}
        if not place.get("commit") or place.get("dirty") is not False:
            reason = f" ({place['reason']})" if place.get("reason") else ""
            raise BenchError(
                f"{file} was made by uncommitted code{reason}; commit bench/, delete the file and run the suite again."
            )
        if not self._known.setdefault(place["commit"], git.holds(place["commit"])):
            raise BenchError(
                f"{file} was made by commit {place['commit'][:9]}, which this repository does not have; fetch it, or run "
                "the suite again."
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
    for file in sorted(folder.glob("*.npz")):
        if file.stem not in OF_ALL and spec.shuffle != first:
            continue  # pictures show the first shuffle
        with np.load(file, allow_pickle=False) as opened:
            arrays = {key: opened[key] for key in opened if free or not _shows_images(key, opened[key])}
        if "samples" in arrays:
            arrays["samples"] = arrays["samples"][:SAMPLES]
        if "maps" in arrays:  # the largest arrays; shown as colours, for which half precision is plenty
            arrays["maps"] = arrays["maps"].astype(np.float16)
        if arrays:
            save_arrays(out / file.name, **arrays)


def _shows_images(key: str, array: np.ndarray) -> bool:
    """Whether an array shows images: by its name, or as it is stored as pixels."""
    return key.startswith(PICTURES) or array.dtype == np.uint8


def _write_table(table: pd.DataFrame, file: Path) -> None:
    # without time and name of the file: the same numbers are the same bytes
    with atomic(file) as temporary:
        temporary.write_bytes(gzip.compress(table.to_csv(index=False).encode(), mtime=0))
    read_tidy(file)


def _written(found: dict[str, dict[int, Prior]]) -> dict[str, dict[str, dict]]:
    """Return priors as JSON values; an infinite weight as a large one."""
    return {
        measure: {
            str(n): {"freedom": min(float(p.freedom), 1e6), "variance": float(p.variance)}
            for n, p in sizes.items()
        }
        for measure, sizes in found.items()
    }


def priors(suite: str) -> dict[str, dict[int, Prior]]:
    """Return the stored priors, measure -> N -> prior; raises BenchError if there are none."""
    file = paths.baselines_folder(suite) / "priors.json"
    if not file.exists():
        raise BenchError(
            f"{file} does not exist; restore it, or store the baselines again with `bench baselines promote`."
        )
    return {
        measure: {int(size): Prior(prior["freedom"], prior["variance"]) for size, prior in sizes.items()}
        for measure, sizes in read_json(file).items()
    }


def stored(suite: str) -> dict:
    """Return ``provenance.json`` of a suite; raises BenchError if it has no baselines, naming those that have."""
    file = paths.baselines_folder(suite) / "provenance.json"
    if not file.exists():
        known = sorted(f.parent.name for f in paths.RESULTS.glob("baselines/*/provenance.json"))
        raise BenchError(
            f"Suite {suite!r} has no stored baselines (there are: {', '.join(known) or 'none'}); "
            f"run it and store them with `bench baselines promote --suite {suite}`.{root.elsewhere()}"
        )
    return read_json(file)


def difference(suite: str) -> pd.DataFrame:
    """Compare ``results/SUITE/tidy.csv`` with the baselines: per metric the rows on either side and the largest change."""
    stored(suite)
    old, new = (read_tidy(f) for f in (paths.baseline_table(suite), paths.tidy_file(suite)))
    both = old.merge(new, on=KEY, how="outer", suffixes=("_old", "_new"), indicator=True)
    both = both.assign(change=(both["value_new"] - both["value_old"]).abs(), run=run_names(both))
    rows = []
    for metric, part in both.groupby("metric", sort=False):
        sides = part["_merge"].value_counts()
        largest = part["change"].idxmax() if part["change"].notna().any() else None
        rows.append(
            {
                "metric": metric,
                "both": int(sides["both"]),
                "baseline_only": int(sides["left_only"]),
                "results_only": int(sides["right_only"]),
                "largest_change": part["change"].max(),
                "where": "" if largest is None else part.loc[largest, "run"],
            }
        )
    return pd.DataFrame(rows)

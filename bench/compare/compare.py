"""A candidate against the stored baselines of a suite: paired differences, intervals, a verdict. Torch-free.

Candidate and baselines were trained on the same images with the same seeds and measured with the same noise, so a
shuffle gives one paired difference; images are nested in shuffles.  Holm's correction is over all cells of the table.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pandas as pd

from bench.compare.measures import JUDGED, Judged
from bench.results import baselines
from bench.results.statistics import Interval, by_image, holm, nested_interval, paired_interval, verdict
from bench.results.tidy import read_tidy
from bench.suite.plan import Plan
from bench.support import paths
from bench.support.errors import BenchError
from bench.support.files import read_json

MATCHED = 1.25  # a ratio of parameters, multiply-adds or budget beyond this, either way, is warned of
CELL = ["dataset", "train_size", "baseline", "metric"]
LOCALITY = {"better": "more local", "worse": "less local"}  # neither is a merit by itself


def compare(suite: Plan) -> tuple[pd.DataFrame, list[str]]:
    """Return one row for each (dataset, N, baseline, metric), and notes: what is not matched, what is stale.

    Columns: ``CELL`` (``metric`` is a key of :data:`JUDGED`), ``candidate`` and ``stored`` (means over the shuffles that
    both have), ``difference``, ``low``, ``high`` (95 % paired t interval over shuffles), ``image_low``, ``image_high``
    (over the images of these very networks), ``count`` (shuffles), ``p`` (Holm), ``verdict``, ``stale`` (why the
    baseline is, else empty).  Raises BenchError where the baselines are of other data, or were measured otherwise.
    """
    candidate_runs(suite)  # a missing candidate is the first thing to say
    old = read_tidy(_stored(suite, paths.baseline_table(suite.suite).name))
    new = _measured(suite)
    _check_data(suite, new, old)
    status = baselines.status(suite)
    rows = []
    for judged in JUDGED.values():
        mine, theirs = judged.rows(new), judged.rows(old)
        for (dataset, size, model), part in theirs.groupby(["dataset", "train_size", "model"], sort=False):
            same = mine[(mine["dataset"] == dataset) & (mine["train_size"] == size)]
            both = sorted(set(same["shuffle"]) & set(part["shuffle"]))
            if model != suite.candidate and both:
                _check_protocol(suite, judged, same, part)
                cell = {"dataset": dataset, "train_size": size, "baseline": model, "metric": judged.key}
                old_runs = [_run(dataset, model, size, shuffle) for shuffle in both]
                stale = baselines.reasons(status, old_runs, judged.measured)
                rows.append(cell | _difference(suite, judged, cell, same, part) | {"stale": stale})
    if not rows:
        raise BenchError(
            f"Suite {suite.suite!r}: candidate and baselines have no run in common; see `bench plan`."
        )
    table = pd.DataFrame(rows)
    table["p"] = holm([interval.p for interval in table["interval"]])
    words = [
        _word(row.interval, row.p, JUDGED[row.metric].better)
        for row in table[["interval", "p", "metric"]].itertuples()
    ]
    table.insert(table.columns.get_loc("stale"), "verdict", words)
    return table.drop(columns="interval"), _notes(suite, new, old, table)


def candidate_runs(suite: Plan) -> list[str]:
    """Return the runs of the candidate; raises BenchError where no candidate is named."""
    if suite.candidate is None:
        raise BenchError("No model to compare: give `--config model=my_model.py:name`.")
    return [name for name, run in suite.runs.items() if run.model.name == suite.candidate]


def _run(dataset: str, model: str, size: int, shuffle: int) -> str:
    return f"{dataset}.{model}.n{size}.s{shuffle}"


def _stored(suite: Plan, name: str) -> Path:
    baselines.stored(suite.suite)  # names the suites that have some, where this one has none
    return paths.baselines_folder(suite.suite) / name


def _measured(suite: Plan) -> pd.DataFrame:
    """Return all rows of the candidate."""
    files = [paths.measured_files(suite.suite, run)[0] for run in candidate_runs(suite)]
    return pd.concat(map(read_tidy, files), ignore_index=True)


def _check_data(suite: Plan, new: pd.DataFrame, old: pd.DataFrame) -> None:
    for dataset, part in new.groupby("dataset"):
        stored = set(old.loc[old["dataset"] == dataset, "data_hash"])
        here = set(part["data_hash"])
        if stored and here != stored:
            raise BenchError(
                f"The baselines of suite {suite.suite!r} are of another version of {dataset} ({min(stored)[:12]}, "
                f"here {min(here)[:12]}); build the same one, or run the suite and promote it again."
            )


def _check_protocol(suite: Plan, judged: Judged, new: pd.DataFrame, old: pd.DataFrame) -> None:
    if set(new["protocol"]) != set(old["protocol"]):
        raise BenchError(
            f"The baselines of suite {suite.suite!r} measured {judged.metric} otherwise "
            f"({old['protocol'].iloc[0]}, here {new['protocol'].iloc[0]}); run the suite and promote it again."
        )


def _difference(suite: Plan, judged: Judged, cell: dict, new: pd.DataFrame, old: pd.DataFrame) -> dict:
    """Return the paired difference of one cell over the shuffles that both have."""
    mine, theirs = (table.groupby("shuffle")["value"].mean() for table in (new, old))
    both = mine.index.intersection(theirs.index)
    found = paired_interval((mine[both] - theirs[both]).tolist())
    images = _over_images(suite, judged, cell, both)
    return {
        "candidate": mine[both].mean(), "stored": theirs[both].mean(), "difference": found.mean,
        "low": found.low, "high": found.high, "image_low": images[0], "image_high": images[1],
        "count": len(both), "p": found.p, "interval": found,
    }  # fmt: skip


def _over_images(suite: Plan, judged: Judged, cell: dict, shuffles: Iterable[int]) -> tuple[float, float]:
    """Return the interval over images, NaN where none is stored: the k-th images of both sides saw the same noise."""
    if judged.measured != "psnr":
        return math.nan, math.nan
    parts = []
    for shuffle in shuffles:
        sides = []
        for folder_of, model in (
            (paths.arrays_folder, suite.candidate),
            (paths.baseline_arrays, cell["baseline"]),
        ):
            run = _run(cell["dataset"], model, cell["train_size"], shuffle)
            file = folder_of(suite.suite, run) / "psnr.npz"
            if not file.exists():
                return math.nan, math.nan
            with np.load(file, allow_pickle=False) as arrays:
                sides.append({split: arrays[split].mean(1) for split in ("test", "train")})
        test, train = (sides[0][split] - sides[1][split] for split in ("test", "train"))
        parts.append([test] if judged.key == "test_psnr" else [by_image(train, cell["train_size"]), -test])
    found = nested_interval(parts)
    return found.low, found.high


def _word(interval: Interval, p: float, better: str) -> str:
    word = verdict(interval, p, better or "lower")
    return word if better else LOCALITY.get(word, word)


def _notes(suite: Plan, new: pd.DataFrame, old: pd.DataFrame, table: pd.DataFrame) -> list[str]:
    """Return sentences on what is not matched between candidate and baselines, and on stale baselines."""
    notes = []
    for model, ratios in unmatched(budget_table(suite).set_index("model"), suite.candidate).items():
        words = ", ".join(f"{ratio:.3g} times the {word}" for word, ratio in ratios.items())
        notes.append(f"Not matched with {model}: {suite.candidate} has {words}.")
    if stale := int((table["stale"] != "").sum()):
        first = table[table["stale"] != ""].iloc[0]
        notes.append(
            f"† {stale} of {len(table)} cells meet a stale baseline, which the present code, options or data would "
            f"not give again, the first: {first['metric']} of {first['baseline']} ({first['stale']})."
        )
    return notes


def unmatched(budget: pd.DataFrame, candidate: str) -> dict[str, dict[str, float]]:
    """Return baseline -> what -> ratio where the candidate is larger or smaller by more than ``MATCHED``.

    Controls, which have no parameters to match, are left out.
    """
    mine, found = budget.loc[candidate], {}
    for model, row in budget.drop(index=candidate).iterrows():
        for key, word in (
            ("parameters", "parameters"),
            ("macs", "multiply-adds"),
            ("images", "training images"),
        ):
            ratio = mine[key] / row[key] if row["parameters"] and row[key] else 1.0
            if not 1 / MATCHED <= ratio <= MATCHED:
                found.setdefault(model, {})[word] = ratio
    return found


def budget_table(suite: Plan) -> pd.DataFrame:
    """Return the cost of the candidate and of each baseline, and how they were trained.

    Columns: model, parameters, macs, steps, batch, images (steps times batch), learning_rate, images_per_second (mean)
    and device.  The baselines' recipe is that of the stored plan, with which they were trained.
    """
    old, new = read_tidy(_stored(suite, paths.baseline_table(suite.suite).name)), _measured(suite)
    trained = {
        run["model"]["name"]: run["training"]
        for run in read_json(_stored(suite, "plan.json"))["runs"]
        if not run["recipe"]
    }
    own = suite.run(candidate_runs(suite)[0]).training
    trained[suite.candidate] = {"steps": own.steps, "batch": own.batch, "learning_rate": own.learning_rate}
    rows = []
    for model, part in pd.concat([new, old[old["model"] != suite.candidate]]).groupby("model", sort=False):
        value = {m: part.loc[part["metric"] == m, "value"].mean() for m in ("parameters", "macs")}
        recipe = {key: trained[model][key] for key in ("steps", "batch", "learning_rate")}
        speed = part[part["metric"] == "images_per_second"]
        devices = sorted({p.removeprefix("device=") for p in speed["protocol"]})
        rows.append(
            {"model": model} | value | recipe
            | {"images": recipe["steps"] * recipe["batch"], "images_per_second": speed["value"].mean(),
               "device": ", ".join(devices)}
        )  # fmt: skip
    return pd.DataFrame(rows)

"""A candidate against the stored baselines of a suite: paired differences, intervals, verdicts. Torch-free.

Candidate and baselines were trained on the same images with the same seeds and measured with the same noise, so a
shuffle gives one paired difference.  First the pooled answer against each baseline, over (dataset, shuffle) with the
cells of N averaged inside; then the cells.  Each is one question, as are networks and controls: Holm's correction is
within one measure and one question.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import pandas as pd

from bench.compare.gather import Evidence
from bench.results.measures import AT_EQUAL, GAPS, TEST, Measure, test_holds
from bench.results.staleness import first_reason
from bench.results.statistics import (
    BETTER,
    NOT_JUDGED,
    WORSE,
    Interval,
    detectable,
    nested_interval,
    paired_interval,
    replicates,
    verdicts,
)
from bench.results.words import is_ranked
from bench.support.errors import BenchError

MATCHED = 1.25  # a ratio of parameters, multiply-adds or budget beyond this, either way, is warned of
CELL = ["metric", "baseline", "dataset", "train_size"]
UNPROVEN = "smaller, but test PSNR may be lower"
NOT_RANKED = "not ranked"
NEITHER = {BETTER: "lower", WORSE: "higher"}  # of measures of which neither way is better
COSTS = {"parameters": "parameters", "macs": "multiply-adds", "images": "training images"}


@dataclass(frozen=True)
class Comparison:
    """``pooled``: one row for each (metric, baseline).  ``cells``: one for each (metric, baseline, dataset, train_size).

    Columns of both: ``candidate`` and ``stored`` (means over the shuffles that both have), ``difference`` (on the scale
    of the measure: logarithms of ratios for gaps), ``error``, ``freedom``, ``count`` (replicates), ``low``, ``high``
    (95 %), ``verdict``, ``shown`` (smallest difference that could have been shown), ``control``, ``stale`` (why the
    baseline is out of date, else empty).  Cells have ``word`` and ``baseline_word`` (of the runs), and for the test PSNR
    ``image_low`` and ``image_high`` (over the images of these very networks).
    """

    evidence: Evidence
    pooled: pd.DataFrame
    cells: pd.DataFrame
    costs: pd.DataFrame
    notes: list[str]


def compare(evidence: Evidence) -> Comparison:
    """Return every difference with its verdict; raises BenchError where the baselines were measured otherwise."""
    pairs = pd.concat([_pairs(evidence, measure) for measure in evidence.measures], ignore_index=True)
    if not len(pairs):
        raise BenchError(
            f"Suite {evidence.suite.suite!r}: candidate and baselines have no run in common; see `bench plan`."
        )
    cells = pd.DataFrame(_cells(evidence, pairs))
    pooled = pd.DataFrame(_pooled(pairs))
    for table in (cells, pooled):
        table["control"] = table["baseline"].isin(evidence.controls)
        _judge(evidence, table)
    _hold_back(cells, CELL[1:])
    _hold_back(pooled, ["baseline"])
    pooled["stale"] = [
        max(cells.loc[(cells["metric"] == row.metric) & (cells["baseline"] == row.baseline), "stale"])
        for row in pooled.itertuples()
    ]
    costs = _costs(evidence)
    return Comparison(evidence, pooled, cells, costs, _notes(evidence, costs, cells))


def _pairs(evidence: Evidence, measure: Measure) -> pd.DataFrame:
    """Return one row for each baseline, dataset, N and shuffle that both have; ``value`` is the difference."""
    _check_protocol(evidence, measure)
    keys = ["dataset", "train_size", "shuffle"]
    mine = measure.values(evidence.new).drop(columns="model").rename(columns={"value": "candidate"})
    theirs = measure.values(evidence.old).rename(columns={"value": "stored", "model": "baseline"})
    if measure.index_name == AT_EQUAL:
        keys.append("index")
    both = theirs.merge(mine, on=keys).assign(metric=measure.key)
    if measure.index_name == AT_EQUAL:
        both = _at_largest(both)
    both["value"] = measure.scale(both["candidate"]) - measure.scale(both["stored"])
    # a ratio to next to nothing says nothing
    floor = measure.margin.floor
    both["judged"] = both.groupby(CELL)["stored"].transform("mean") >= floor if floor else True
    for column, model in (("word", evidence.candidate), ("baseline_word", None)):
        places = zip(both["dataset"], both["baseline"], both["train_size"])
        both[column] = [evidence.word(dataset, model or baseline, size) for dataset, baseline, size in places]
    return both


def _at_largest(both: pd.DataFrame) -> pd.DataFrame:
    """Return the rows at the largest index of each cell that most of its shuffles have."""
    shuffles = both.groupby([*CELL, "index"])["shuffle"].transform("nunique")
    both = both[shuffles == shuffles.groupby([both[key] for key in CELL]).transform("max")]
    return both[both["index"] == both.groupby(CELL)["index"].transform("max")].drop(columns="index")


def _check_protocol(evidence: Evidence, measure: Measure) -> None:
    shared = set(evidence.new["dataset"]) & set(evidence.old["dataset"])
    for dataset in sorted(shared):
        here, stored = (
            set(rows.loc[rows["dataset"] == dataset, "protocol"])
            for rows in (measure.rows(evidence.new), measure.rows(evidence.old))
        )
        if here and stored and here != stored:
            raise BenchError(
                f"The baselines of suite {evidence.suite.suite!r} measured {measure.metric} otherwise "
                f"({min(stored)}, here {min(here)}); run the suite and promote it again."
            )


def _cells(evidence: Evidence, pairs: pd.DataFrame) -> Iterator[dict]:
    known = {measure.key: measure for measure in evidence.measures}
    for key, part in pairs.groupby(CELL, sort=False):
        metric, baseline, dataset, size = key
        prior = None if baseline in evidence.controls else evidence.priors.get(metric, {}).get(size)
        runs = [f"{dataset}.{baseline}.n{size}.s{shuffle}" for shuffle in part["shuffle"]]
        images = _over_images(evidence, runs, baseline) if metric == TEST else (math.nan, math.nan)
        yield (
            dict(zip(CELL, key))
            | _row(part, paired_interval(part["value"], prior))
            | {"image_low": images[0], "image_high": images[1]}
            | {name: part[name].iloc[0] for name in ("word", "baseline_word")}
            | {"stale": first_reason(evidence.status, runs, known[metric].measured)}
        )


def _pooled(pairs: pd.DataFrame) -> Iterator[dict]:
    """Yield the pooled answers; their words are the first, if any, that keeps a side from being called better."""
    for key, part in pairs.groupby(["metric", "baseline"], sort=False):
        judged = part[part["judged"]] if part["judged"].any() else part
        words = {
            name: next((word for word in judged[name] if not is_ranked(word)), "")
            for name in ("word", "baseline_word")
        }
        yield dict(zip(CELL[:2], key)) | _row(judged, paired_interval(replicates(judged))) | words


def _row(part: pd.DataFrame, found: Interval) -> dict:
    means = {name: part[name].mean() for name in ("candidate", "stored")}
    interval = {
        "difference": found.mean,
        "error": found.error,
        "freedom": found.freedom,
        "count": found.count,
    }
    return means | interval | {"low": found.low, "high": found.high, "judged": bool(part["judged"].all())}


def _over_images(evidence: Evidence, runs: list[str], baseline: str) -> tuple[float, float]:
    """Return the interval over images, NaN where some are not stored: the k-th images of both sides saw the same noise."""
    own = [run.replace(f".{baseline}.", f".{evidence.candidate}.", 1) for run in runs]
    if not all(run in evidence.images for run in (*runs, *own)):
        return math.nan, math.nan
    found = nested_interval([evidence.images[a] - evidence.images[b] for a, b in zip(own, runs)])
    return float(found.low), float(found.high)


def _judge(evidence: Evidence, table: pd.DataFrame) -> None:
    """Add ``verdict`` and ``shown``, corrected within each measure and question."""
    table["verdict"], table["shown"] = NOT_JUDGED, math.nan
    for measure in evidence.measures:
        for control in (False, True):
            one = table[(table["metric"] == measure.key) & (table["control"] == control) & table["judged"]]
            if len(one):
                found = Interval(*(one[c].to_numpy() for c in ("difference", "error", "freedom", "count")))
                words = verdicts(found, measure.row.better, measure.bound)
                if not measure.row.better:
                    words = [NEITHER.get(word, word) for word in words]
                table.loc[one.index, "verdict"] = words
                table.loc[one.index, "shown"] = detectable(found)


def _hold_back(table: pd.DataFrame, place: list[str]) -> None:
    """Take "better" from a gap whose test PSNR may be lower, and from a side that is not fitted or still learning."""
    lows = {
        metric: table[table["metric"] == metric].set_index(place)["low"].to_dict() for metric in GAPS.values()
    }
    for index, row in table.iterrows():
        words = {BETTER: row["word"], WORSE: row["baseline_word"]}
        unfit = words.get(row["verdict"], "")
        key = tuple(row[place]) if len(place) > 1 else row[place[0]]
        beside = lows.get(GAPS.get(row["metric"], ""))
        if not is_ranked(unfit):
            table.loc[index, "verdict"] = f"{NOT_RANKED}: {unfit}"
        elif beside is not None and row["verdict"] == BETTER and not test_holds(beside.get(key, -math.inf)):
            table.loc[index, "verdict"] = UNPROVEN


def unmatched(costs: pd.DataFrame, candidate: str) -> dict[str, dict[str, float]]:
    """Return baseline -> what -> ratio where the candidate is larger or smaller by more than ``MATCHED``.

    Controls, which have no parameters to match, are left out.
    """
    costs = costs.set_index("model")
    ratios = costs.loc[candidate, list(COSTS)] / costs.loc[costs["parameters"] > 0, list(COSTS)].drop(
        index=candidate
    )
    return {
        model: found
        for model, row in ratios.iterrows()
        if (found := {COSTS[key]: float(v) for key, v in row.items() if not 1 / MATCHED <= v <= MATCHED})
    }


def _costs(evidence: Evidence) -> pd.DataFrame:
    """Return what the candidate and each baseline cost, and how they were trained.

    Columns: model, parameters, macs, images (steps times batch), steps, batch, learning_rate, images_per_second (mean),
    device.  The baselines' recipe is that of the stored plan, with which they were trained.
    """
    rows = []
    for model, part in pd.concat([evidence.new, evidence.old]).groupby("model", sort=False):
        value = {
            m: part.loc[part["metric"] == m, "value"].mean()
            for m in ("parameters", "macs", "images_per_second")
        }
        devices = (
            part.loc[part["metric"] == "images_per_second", "protocol"].str.removeprefix("device=").unique()
        )
        how = {key: evidence.trained[model][key] for key in ("steps", "batch", "learning_rate")}
        images = {"images": how["steps"] * how["batch"]}
        rows.append({"model": model} | value | images | how | {"device": ", ".join(sorted(devices))})
    return pd.DataFrame(rows)


def _notes(evidence: Evidence, costs: pd.DataFrame, cells: pd.DataFrame) -> list[str]:
    """Return sentences on the candidate's runs, on what is not matched, and on baselines that are out of date."""
    notes = []
    for model, ratios in unmatched(costs, evidence.candidate).items():
        words = ", ".join(f"{ratio:.3g} times the {word}" for word, ratio in ratios.items())
        notes.append(f"Not matched with {model}: {evidence.candidate} has {words}.")
    stale = cells[cells["stale"] != ""]
    if len(stale):
        first = stale.iloc[0]
        notes.append(
            f"† {len(stale)} of {len(cells)} cells meet a baseline that is out of date with the current code, options or "
            f"data, the first: {first['metric']} of {first['baseline']} ({first['stale']})."
        )
    return notes

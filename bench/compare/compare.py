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

from bench.compare.costs import costs, unmatched
from bench.compare.gather import Evidence
from bench.results.equal_psnr import curves, gaps_at_equal_train_psnr
from bench.results.measures import GAPS, TEST, Measure, test_holds
from bench.results.staleness import first_reason
from bench.results.statistics import (
    BETTER,
    NOT_JUDGED,
    WORSE,
    Interval,
    balanced,
    detectable,
    nested_interval,
    paired_interval,
    replicates,
    verdicts,
)
from bench.results.training_state import is_ranked
from bench.support.errors import BenchError

FIELDS = ("difference", "error", "freedom", "count")  # of an interval
CELL = ["metric", "baseline", "dataset", "train_size"]
PAIR = ["dataset", "train_size", "shuffle"]
UNPROVEN = "smaller, but test PSNR may be lower"
NOT_RANKED = "not ranked"
NEITHER = {BETTER: "lower", WORSE: "higher"}  # of measures of which neither way is better


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
    """Return every difference with its verdict; raises BenchError if the baselines were measured with other settings."""
    pairs = pd.concat([_pairs(evidence, measure) for measure in evidence.measures], ignore_index=True)
    if not len(pairs):
        raise BenchError(
            f"Suite {evidence.suite.suite!r}: candidate and baselines have no run in common; see `bench plan`."
        )
    cells = pd.DataFrame(_cells(evidence, pairs))
    pooled = pd.DataFrame(_pooled(pairs))
    for table, place in ((cells, CELL[1:]), (pooled, ["baseline"])):
        _judge(evidence, table)
        _hold_back(table, place)
    pooled["stale"] = [
        max(cells.loc[(cells["metric"] == row.metric) & (cells["baseline"] == row.baseline), "stale"])
        for row in pooled.itertuples()
    ]
    spent = costs(pd.concat([evidence.new, evidence.old]), evidence.trained)
    return Comparison(evidence, pooled, cells, spent, _notes(evidence, spent, cells))


def _pairs(evidence: Evidence, measure: Measure) -> pd.DataFrame:
    """Return one row for each baseline, dataset, N and shuffle that both have; ``value`` is the difference."""
    _check_protocol(evidence, measure)
    pair = _at_equal_train_psnr if measure.of_pairs else _side_by_side
    both = pair(evidence, measure).assign(metric=measure.key)
    both["value"] = measure.scale(both["candidate"]) - measure.scale(both["stored"])
    # a ratio to almost nothing is meaningless
    floor = measure.margin.floor
    both["judged"] = both.groupby(CELL)["stored"].transform("mean") >= floor if floor else True
    for column, model in (("word", evidence.candidate), ("baseline_word", None)):
        places = zip(both["dataset"], both["baseline"], both["train_size"])
        both[column] = [evidence.word(dataset, model or baseline, size) for dataset, baseline, size in places]
    return both


def _side_by_side(evidence: Evidence, measure: Measure) -> pd.DataFrame:
    """Return ``candidate`` and ``stored`` by baseline, dataset, N and shuffle."""
    mine = measure.values(evidence.new).drop(columns="model").rename(columns={"value": "candidate"})
    theirs = measure.values(evidence.old).rename(columns={"value": "stored", "model": "baseline"})
    return theirs.merge(mine, on=PAIR)


def _at_equal_train_psnr(evidence: Evidence, measure: Measure) -> pd.DataFrame:
    """Return the gaps of both sides where they have the same train PSNR, as :func:`_side_by_side`."""
    mine, theirs = (curves(table).reset_index() for table in (evidence.new, evidence.old))
    theirs = theirs.rename(columns={"model": "baseline"})
    both = theirs.merge(mine.drop(columns="model"), on=PAIR, suffixes=("_stored", ""))
    gaps = [gaps_at_equal_train_psnr(*pair) for pair in zip(both["curve"], both["curve_stored"])]
    both[["candidate", "stored"]] = pd.DataFrame(gaps, index=both.index, columns=["candidate", "stored"])
    return both.drop(columns=["curve", "curve_stored"]).dropna(subset=["candidate", "stored"])


def _check_protocol(evidence: Evidence, measure: Measure) -> None:
    shared = set(evidence.new["dataset"]) & set(evidence.old["dataset"])
    for dataset in sorted(shared):
        here, stored = (
            set(rows.loc[rows["dataset"] == dataset, "protocol"])
            for rows in (measure.rows(evidence.new), measure.rows(evidence.old))
        )
        if here and stored and here != stored:
            raise BenchError(
                f"The baselines of suite {evidence.suite.suite!r} measured {measure.metric} with other settings "
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
        judged = balanced(part[part["judged"]] if part["judged"].any() else part, ["train_size"])
        words = {
            name: next((word for word in judged[name] if not is_ranked(word)), "")
            for name in ("word", "baseline_word")
        }
        yield dict(zip(CELL[:2], key)) | _row(judged, paired_interval(replicates(judged))) | words


def _row(part: pd.DataFrame, found: Interval) -> dict:
    means = {name: part[name].mean() for name in ("candidate", "stored")}
    interval = {"difference": found.mean} | {name: getattr(found, name) for name in FIELDS[1:]}
    return means | interval | {"low": found.low, "high": found.high, "judged": bool(part["judged"].all())}


def _over_images(evidence: Evidence, runs: list[str], baseline: str) -> tuple[float, float]:
    """Return the interval over images, NaN if some are not stored: the k-th images of both sides saw the same noise."""
    own = [run.replace(f".{baseline}.", f".{evidence.candidate}.", 1) for run in runs]
    if not all(run in evidence.images for run in (*runs, *own)):
        return math.nan, math.nan
    found = nested_interval([evidence.images[a] - evidence.images[b] for a, b in zip(own, runs)])
    return float(found.low), float(found.high)


def _judge(evidence: Evidence, table: pd.DataFrame) -> None:
    """Add ``verdict`` and ``shown``, corrected within each measure and question."""
    known = {measure.key: measure for measure in evidence.measures}
    table["control"] = table["baseline"].isin(evidence.controls)
    table["verdict"], table["shown"] = NOT_JUDGED, math.nan
    for (metric, _), part in table[table["judged"]].groupby(["metric", "control"]):
        found, better = Interval(*(part[name].to_numpy() for name in FIELDS)), known[metric].row.better
        words = verdicts(found, better, known[metric].bound)
        table.loc[part.index, "verdict"] = words if better else [NEITHER.get(word, word) for word in words]
        table.loc[part.index, "shown"] = detectable(found)


def _hold_back(table: pd.DataFrame, place: list[str]) -> None:
    """Take "better" from a gap whose test PSNR may be lower, and from a side that is not fitted or still learning."""
    keys = pd.MultiIndex.from_frame(table[place])
    lows = pd.Series(table["low"].to_numpy(), pd.MultiIndex.from_frame(table[["metric", *place]]))
    for row, key in zip(table.itertuples(), keys):
        unfit = {BETTER: row.word, WORSE: row.baseline_word}.get(row.verdict, "")
        if not is_ranked(unfit):
            table.loc[row.Index, "verdict"] = f"{NOT_RANKED}: {unfit}"
        elif row.metric in GAPS and row.verdict == BETTER:
            held = test_holds(lows.get((GAPS[row.metric], *key), -math.inf))
            table.loc[row.Index, "verdict"] = BETTER if held else UNPROVEN


def _notes(evidence: Evidence, spent: pd.DataFrame, cells: pd.DataFrame) -> list[str]:
    """Return sentences on what is not matched, and on baselines that are out of date."""
    who, far = evidence.candidate, unmatched(spent, evidence.trained, evidence.candidate)
    notes = [f"Not matched with {model}: {who} has {words}." for model, words in far.items()]
    stale = cells[cells["stale"] != ""]
    if len(stale):
        first = stale.iloc[0]
        notes.append(
            f"† {len(stale)} of {len(cells)} cells use a baseline that is out of date with the current code, options or "
            f"data, the first: {first['metric']} of {first['baseline']} ({first['stale']})."
        )
    return notes

"""A candidate against the stored baselines of a suite: paired differences, intervals, a verdict. Torch-free.

Candidate and baselines were trained on the same images with the same seeds and measured with the same noise, so a
shuffle gives one paired difference; images are nested in shuffles.  Holm's correction is over all cells of the table.
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pandas as pd

from bench import paths
from bench.compare import baselines
from bench.errors import BenchError
from bench.plan import Plan
from bench.report.tables.table import Table
from bench.statistics import holm, paired_interval, verdict
from bench.tidy import METRICS, read_tidy

# (metric, split, name for readers): what a verdict is given on; a suite that does not measure one leaves it out
COMPARED = (
    ("psnr_gap_mean", "train-test", "PSNR gap (dB)"),
    ("psnr_mean", "test", "test PSNR (dB)"),
    ("fid", "", "FID"),
    ("frechet", "", "Fréchet distance"),
    ("memorized_share", "", "share of copies"),
    ("attention_distance", "", "attention distance (tokens)"),
)
MATCHED = 1.25  # a ratio of parameters, multiply-adds or budget beyond this, either way, is warned of
CELL = ["dataset", "train_size", "baseline", "metric"]


def compare(suite: Plan) -> tuple[pd.DataFrame, list[str]]:
    """Return one row for each (dataset, N, baseline, metric), and notes: what is not matched, what is stale.

    Columns: ``CELL``, ``candidate`` and ``stored`` (means), ``difference``, ``low``, ``high`` (95 % t interval over
    shuffles, or over images where there is one shuffle), ``over``, ``count``, ``p`` (Holm), ``verdict``.
    Raises BenchError where the baselines are of other data, or were measured otherwise.
    """
    mine = candidate_runs(suite)
    folder = paths.baselines_folder(suite.suite)
    record, old = baselines.stored(suite.suite), read_tidy(folder / "tidy.csv")
    new = pd.concat([_measured(suite, name) for name in mine], ignore_index=True)
    _check_data(suite, new, old)
    rows = []
    for metric, split, _ in COMPARED:
        mine, theirs = (t[(t["metric"] == metric) & (t["split"] == split)] for t in (new, old))
        _check_protocol(suite, metric, mine, theirs)
        for (dataset, size, baseline), part in theirs.groupby(["dataset", "train_size", "model"], sort=False):
            same = mine[(mine["dataset"] == dataset) & (mine["train_size"] == size)]
            if set(same["shuffle"]) & set(part["shuffle"]):
                cell = {"dataset": dataset, "train_size": size, "baseline": baseline, "metric": metric}
                rows.append(cell | _difference(suite, cell, same, part))
    if not rows:
        raise BenchError(
            f"Suite {suite.suite!r}: candidate and baselines have no run in common; see `bench plan`."
        )
    table = pd.DataFrame(rows)
    table["p"] = holm(table["p"])
    table["verdict"] = [
        verdict(paired_interval(row.values_), row.p, METRICS[row.metric][1] or "lower")
        for row in table.itertuples()
    ]
    table.loc[table["metric"] == "attention_distance", "verdict"] = ""  # neither way is better
    return table.drop(columns="values_"), _notes(suite, record, new, old)


def candidate_runs(suite: Plan) -> list[str]:
    """Return the runs of the candidate; raises BenchError where no candidate is named."""
    if suite.candidate is None:
        raise BenchError("No model to compare: give `--config model=my_model.py:name`.")
    return [name for name, run in suite.runs.items() if run.model.name == suite.candidate]


def _measured(suite: Plan, run: str) -> pd.DataFrame:
    folder = paths.run_folder(suite.suite, run)
    tables = [read_tidy(folder / f"{metric}.csv") for metric in (*suite.metrics(run), "cost")]
    return pd.concat([t for t in tables if len(t)], ignore_index=True)


def _check_data(suite: Plan, new: pd.DataFrame, old: pd.DataFrame) -> None:
    for dataset, part in new.groupby("dataset"):
        stored = set(old.loc[old["dataset"] == dataset, "data_hash"])
        here = set(part["data_hash"])
        if stored and here != stored:
            raise BenchError(
                f"The baselines of suite {suite.suite!r} are of another version of {dataset} ({min(stored)[:12]}, "
                f"here {min(here)[:12]}); build the same one, or run the suite and promote it again."
            )


def _check_protocol(suite: Plan, metric: str, new: pd.DataFrame, old: pd.DataFrame) -> None:
    if len(new) and len(old) and set(new["protocol"]) != set(old["protocol"]):
        raise BenchError(
            f"The baselines of suite {suite.suite!r} measured {metric} otherwise ({old['protocol'].iloc[0]}, here "
            f"{new['protocol'].iloc[0]}); run the suite and promote it again."
        )


def _difference(suite: Plan, cell: dict, new: pd.DataFrame, old: pd.DataFrame) -> dict:
    """Return the paired difference of one cell over the shuffles that both have."""
    mine, theirs = (table[table["recipe"] == ""].groupby("shuffle")["value"].mean() for table in (new, old))
    both = mine.index.intersection(theirs.index)
    values = (mine[both] - theirs[both]).tolist()
    found = paired_interval(values)
    over, low, high = "shuffles", found.low, found.high
    if len(values) == 1:
        images = _over_images(suite, cell, int(both[0]))
        if images is not None:
            over, low, high = "images", images.low, images.high
    return {
        "candidate": mine[both].mean(), "stored": theirs[both].mean(), "difference": found.mean, "low": low, "high": high,
        "over": over, "count": len(values), "p": found.p, "values_": values,
    }  # fmt: skip


def _over_images(suite: Plan, cell: dict, shuffle: int):
    """Return the interval over images of the one shuffle: the k-th images of both sides saw the same noise."""
    if cell["metric"] not in ("psnr_mean", "psnr_gap_mean"):
        return None
    sides = []
    for folder, model in (
        (paths.suite_folder(suite.suite) / "runs", suite.candidate),
        (paths.baselines_folder(suite.suite) / "arrays", cell["baseline"]),
    ):
        file = folder / f"{cell['dataset']}.{model}.n{cell['train_size']}.s{shuffle}" / "psnr.npz"
        if not file.exists():
            return None
        with np.load(file, allow_pickle=False) as arrays:
            test, train = arrays["test"].mean(1), arrays["train"].mean(1)
        sides.append(test if cell["metric"] == "psnr_mean" else train - test)
    return paired_interval(sides[0] - sides[1])


def _notes(suite: Plan, record: dict, new: pd.DataFrame, old: pd.DataFrame) -> list[str]:
    """Return sentences on what is not matched between candidate and baselines, and on stale baselines."""
    notes = []
    for metric, word in (("parameters", "parameters"), ("macs", "multiply-adds")):
        mine = new.loc[new["metric"] == metric, "value"].mean()
        for model, part in old[old["metric"] == metric].groupby("model", sort=False):
            ratio = mine / part["value"].mean() if part["value"].mean() else math.inf
            if not 1 / MATCHED <= ratio <= MATCHED:
                notes.append(f"{suite.candidate} has {ratio:.2f} times the {word} of {model}: not matched.")
    budgets = {run.model.name: run.training.steps * run.training.batch for run in suite.runs.values()}
    for model in dict.fromkeys(old["model"]):
        if model in budgets and budgets[model] != budgets[suite.candidate]:
            notes.append(
                f"{model} was trained on {budgets[model]:,} images, {suite.candidate} on {budgets[suite.candidate]:,}."
            )
    stale = {key: word for key, word in baselines.status(suite).items() if word != "current"}
    if stale:
        (run, metric), word = next(iter(stale.items()))
        notes.append(f"{len(stale)} stored measurements are stale, the first: {metric} of {run} ({word}).")
    return notes


def budget_table(suite: Plan) -> pd.DataFrame:
    """Return parameters, multiply-adds, steps, batch and learning rate of the candidate and of each baseline."""
    old = read_tidy(paths.baselines_folder(suite.suite) / "tidy.csv")
    new = pd.concat([_measured(suite, name) for name in candidate_runs(suite)], ignore_index=True)
    rows = []
    for table in (new, old):
        for model, part in table.groupby("model", sort=False):
            trained = next((r.training for r in suite.runs.values() if r.model.name == model), None)
            value = {m: part.loc[part["metric"] == m, "value"].mean() for m in ("parameters", "macs")}
            budget = {k: getattr(trained, k, None) for k in ("steps", "batch", "learning_rate")}
            rows.append({"model": model} | value | budget)
    return pd.DataFrame(rows)


def write(suite: Plan) -> Path:
    """Compare and write ``results/SUITE/compare/NAME.{csv,md,tex}`` and the figure; return the tables' stem."""
    from bench.compare.picture import draw
    from bench.report.style import save

    table, notes = compare(suite)
    stem = paths.compare_stem(suite.suite, suite.candidate)
    Table(_readable(suite, table), table, _caption(suite, table, notes)).write(str(stem))
    budget = budget_table(suite)
    shown = budget.assign(
        parameters=budget["parameters"].map("{:,.0f}".format), macs=budget["macs"].map("{:,.0f}".format)
    )
    Table(shown, budget, "What the networks cost, and how they were trained.").write(f"{stem}.budget")
    save(draw(suite, table), str(paths.compare_figure(suite.suite, suite.candidate)))
    return stem


def _readable(suite: Plan, table: pd.DataFrame) -> pd.DataFrame:
    names = {metric: name for metric, _, name in COMPARED}
    return pd.DataFrame(
        {
            "Dataset": [suite.all_datasets[d].title or d for d in table["dataset"]],
            "Against": [_label(suite, m) for m in table["baseline"]],
            "N": [f"{n:,}" for n in table["train_size"]],
            "Metric": [names[m] for m in table["metric"]],
            "Candidate": [f"{v:.4g}" for v in table["candidate"]],
            "Baseline": [f"{v:.4g}" for v in table["stored"]],
            "Difference": [_signed(v) for v in table["difference"]],
            "95 % interval": [_interval(r.low, r.high, r.over) for r in table.itertuples()],
            "Verdict": table["verdict"],
        }
    )


def _label(suite: Plan, model: str) -> str:
    return suite.models[model].label if model in suite.models else model


def _signed(value: float) -> str:
    return f"{value:+.3g}".replace("-", "−")


def _interval(low: float, high: float, over: str) -> str:
    if math.isnan(low):
        return "–"
    return f"{_signed(low)} to {_signed(high)}" + (" (images)" if over == "images" else "")


def _caption(suite: Plan, table: pd.DataFrame, notes: list[str]) -> str:
    low, high = table["count"].min(), table["count"].max()
    shuffles = f"{low if low == high else f'{low} to {high}'} shuffle{'s' if high > 1 else ''}"
    return (
        f"{suite.candidate} against the stored baselines of suite {suite.suite}: paired differences, candidate minus "
        f"baseline, over {shuffles}; paired t intervals, verdicts at 5 % after Holm's correction over "
        f"{int(table['p'].notna().sum())} comparisons. An interval over images says nothing of other seeds. "
        f"A smaller gap with a smaller test PSNR can be underfitting. {' '.join(notes)}"
    ).strip()

"""What a comparison is made of, read once: the candidate's rows, the stored rows, words, priors, recipes. Torch-free."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd

from bench.compare.costs import recipes
from bench.compare.duration import duration
from bench.results import baselines, staleness
from bench.results.measures import Measure, controls, measures
from bench.results.statistics import Prior
from bench.results.tidy import read_tidy
from bench.results.training_state import Word, by_cell, words
from bench.suite.plan import Plan
from bench.support import paths
from bench.support.errors import BenchError
from bench.support.files import read_json
from bench.support.options import to_dict


@dataclass(frozen=True)
class Evidence:
    """The candidate's rows (``new``) and the stored ones (``old``) of a suite, and what is known of both.

    ``images`` holds the test PSNR of single images, (K,), by run; ``trained`` the recipes (:func:`recipes`); ``status``
    why stored measurements are out of date; ``priors`` those of the stored baselines; ``words`` the word of each
    (dataset, model, train_size).
    """

    suite: Plan
    new: pd.DataFrame
    old: pd.DataFrame
    images: dict[str, np.ndarray]
    trained: pd.DataFrame
    status: staleness.Status
    priors: dict[str, dict[int, Prior]]
    words: dict[tuple[str, str, int], Word]

    @property
    def candidate(self) -> str:
        """The candidate's name."""
        return str(self.suite.candidate)

    @cached_property
    def measures(self) -> list[Measure]:
        """What both sides were measured on."""
        return [one for one in measures(self.old) if len(one.rows(self.new))]

    @cached_property
    def controls(self) -> set[str]:
        """The baselines that are not trained."""
        return controls(self.old)

    def word(self, dataset: str, model: str, size: int) -> str:
        """Return the word of a model's runs, '' if it has none."""
        found = self.words.get((dataset, model, size))
        return found.word if found else ""

    def label(self, model: str) -> str:
        """Return a model's name for readers."""
        return str(self.suite.models[model].label) if model in self.suite.models else model

    def title(self, dataset: str) -> str:
        """Return a dataset's name for readers."""
        return str(self.suite.all_datasets[dataset].title or dataset)


def gather(suite: Plan) -> Evidence:
    """Read everything.

    Raises BenchError if no candidate is named, the suite has no baselines, the candidate is not measured (with the
    time that it will take), or the baselines are of other data.
    """
    runs = candidate_runs(suite)
    record = baselines.stored(suite.suite)  # names the suites that have some, where this one has none
    missing = [run for run in runs if not paths.measured_files(suite.suite, run)[0].exists()]
    if missing:
        raise BenchError(
            f"{len(missing)} of {len(runs)} runs of {suite.candidate} are not measured, the first: {missing[0]}. "
            f"`snakemake --cores 2 compare --config model=... suite={suite.suite}` measures them: {duration(suite)}."
        )
    new = pd.concat([read_tidy(paths.measured_files(suite.suite, run)[0]) for run in runs], ignore_index=True)
    old = read_tidy(paths.baseline_table(suite.suite))
    old = old[old["model"] != suite.candidate]
    _check_data(suite, new, old)
    folders = {run: paths.arrays_folder(suite.suite, run) for run in runs}
    folders |= {run: paths.baseline_arrays(suite.suite, run) for run in record["runs"] if run not in folders}
    stored_runs = read_json(paths.baselines_folder(suite.suite) / "plan.json")["runs"]
    trained = recipes([*stored_runs, *(to_dict(suite.runs[run]) for run in runs)])
    images = {run: found for run, folder in folders.items() if (found := _images(folder)) is not None}
    status = staleness.status(suite)
    priors, cells = baselines.priors(suite.suite), by_cell(words(pd.concat([old, new])))
    return Evidence(suite, new, old, images, trained, status, priors, cells)


def candidate_runs(suite: Plan) -> list[str]:
    """Return the runs of the candidate; raises BenchError if none is named."""
    if suite.candidate is None:
        raise BenchError(
            "No model to compare: `snakemake --cores 2 compare --config model=my_model.py:name "
            f"suite={suite.suite}` trains, measures and compares it."
        )
    return [name for name, run in suite.runs.items() if run.model.name == suite.candidate]


def _check_data(suite: Plan, new: pd.DataFrame, old: pd.DataFrame) -> None:
    for dataset, part in new.groupby("dataset"):
        stored, here = (set(rows["data_hash"]) for rows in (old[old["dataset"] == dataset], part))
        if stored and here != stored:
            raise BenchError(
                f"The baselines of suite {suite.suite!r} used another version of {dataset} ({min(stored)[:12]}, "
                f"here {min(here)[:12]}); build the same version, or run the suite and promote it again."
            )


def _images(folder: Path) -> np.ndarray | None:
    """Return the mean test PSNR of each image of a run, (K,), where it is stored."""
    if not (folder / "psnr.npz").exists():
        return None
    with np.load(folder / "psnr.npz", allow_pickle=False) as arrays:
        return arrays["test"].mean(1)

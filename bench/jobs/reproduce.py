"""Run some stored baselines again, in a temporary folder, and say whether the numbers agree. Torch stays in the commands."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from bench.results import baselines, staleness
from bench.results.tidy import KEY, METRICS, read_tidy
from bench.suite import config
from bench.suite.plan import Plan
from bench.support import paths
from bench.support.console import say
from bench.support.errors import BenchError
from bench.support.files import read_json
from bench.support.paths import ROOT

# Of the clock and the machine, not of the network
TIMED = ("images_per_second", "peak_memory")
# On another kind of machine sums are rounded otherwise and a training drifts apart: what its means may differ by
DECIBELS = 0.5
RELATIVE = 0.1
SMALL = 0.02  # a share or distance below this may differ by as much
SAME_KIND = ("machine", "cpu", "cpu_capability", "device", "versions")


@dataclass(frozen=True)
class Agreement:
    """What came out of one run: rows compared, rows with other bits, and the worst one."""

    run: str
    same_kind: bool
    rows: int
    differing: int
    worst: str
    agrees: bool

    def __str__(self) -> str:
        where = "the same kind of machine" if self.same_kind else "another kind of machine"
        if not self.differing:
            return f"{self.run}: bit-equal, {self.rows} rows ({where})"
        word = "within the tolerance" if self.agrees else "DISAGREES"
        return f"{self.run}: {word}, {self.differing} of {self.rows} rows differ, the most: {self.worst} ({where})"


def sample(suite: Plan, count: int, seed: int, changed: bool = False) -> list[str]:
    """Draw stored runs at random: those that are current, or, for ``changed``, those that are not.

    Raises BenchError if there is none.
    """
    status = staleness.status(suite, local_data=False)
    stale = {run for (run, _), why in status.items() if why}
    known = [run for run in baselines.stored(suite.suite)["runs"] if run in suite.runs]
    wanted = [run for run in known if (run in stale) == changed]
    if not wanted:
        how = "current" if changed else "out of date; run the suite and promote it again"
        raise BenchError(
            f"All stored baselines of suite {suite.suite!r} are {how} (`bench baselines verify --suite {suite.suite}`)."
        )
    if len(wanted) < len(known):
        left = "current" if changed else "out of date"
        say(f"{len(known) - len(wanted)} of {len(known)} runs are {left} and are left out")
    return sorted(random.Random(seed).sample(wanted, min(count, len(wanted))))


def reproduce(suite: Plan, runs: list[str], device: str | None = None) -> list[Agreement]:
    """Run these stored runs again in a temporary folder and compare every row; raises BenchError if one fails."""
    record, old = baselines.stored(suite.suite), read_tidy(paths.baseline_table(suite.suite))
    names, found = baselines.run_names(old), []
    with tempfile.TemporaryDirectory(prefix="bench-reproduce-") as folder:
        place = _Place(Path(folder), device)
        for run in runs:
            place.make(suite, run)
            new = read_tidy(place.folder / paths.measured_files(suite.suite, run)[0])
            made = record["environments"][record["runs"][run]["train"]["environment"]]
            same_kind = all(made.get(key) == value for key, value in place.kind(suite, run).items())
            found.append(agreement(run, old[names == run], new, same_kind))
            say(str(found[-1]))
    return found


class _Place:
    """A temporary folder in which commands run; datasets built here already are read, not built again."""

    def __init__(self, folder: Path, device: str | None) -> None:
        self.folder, self.device = folder, device
        built = paths.RESULTS.resolve() / "datasets"
        (folder / "results").mkdir()
        if built.is_dir():
            (folder / "results" / "datasets").mkdir()
            for dataset in built.iterdir():
                (folder / "results" / "datasets" / dataset.name).symlink_to(dataset)
        self.environment = os.environ | {
            "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]),
            "BENCH_CONFIG": str(config.folder().resolve()),
            "BENCH_DATA": str(Path(os.environ.get("BENCH_DATA") or "data").resolve()),
        }

    def bench(self, *words: str) -> None:
        """Run one command; raises BenchError with the last line that it said."""
        command = [sys.executable, "-m", "bench", *words]
        done = subprocess.run(command, cwd=self.folder, env=self.environment, capture_output=True, text=True)
        if done.returncode:
            said = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
            raise BenchError(f"`bench {' '.join(words)}` failed: {said.removeprefix('bench: error: ')}")

    def make(self, suite: Plan, run: str) -> None:
        """Train and measure a run as the workflow does."""
        spec = suite.run(run)
        on = ["--device", self.device] if self.device else []
        data, subset = paths.dataset_folder(spec.dataset), paths.subset_file(spec.dataset, spec.shuffle)
        if not (self.folder / data / "manifest.json").exists():
            self.bench("data", "build", spec.dataset)
        if not (self.folder / subset).exists():
            self.bench("data", "subset", str(data), "--shuffle", str(spec.shuffle), "--out", str(subset))
        say(f"{run}: training and measuring again")
        if spec.measure.halves is not None:
            self.bench("train", spec.partner, "--suite", suite.suite, *on)
        self.bench("train", run, "--suite", suite.suite, *on)
        self.bench("measure", "all", run, "--suite", suite.suite, *on)

    def kind(self, suite: Plan, run: str) -> dict:
        """Return what makes the machine that trained a run here one of its kind."""
        record = read_json(self.folder / paths.run_folder(suite.suite, run) / "run.json")
        return {key: record["provenance"][key] for key in SAME_KIND}


def agreement(run: str, old: pd.DataFrame, new: pd.DataFrame, same_kind: bool) -> Agreement:
    """Compare the rows of one run: equal bits on the same kind of machine, means within the tolerance elsewhere.

    Clock and memory are left out.  Rows that one side lacks disagree.
    """
    old, new = (t[~t["metric"].isin(TIMED)] for t in (old, new))
    both = old.merge(new, on=KEY, how="outer", suffixes=("_old", "_new"), indicator=True)
    missing = both["_merge"] != "both"
    differing = both[missing | (both["value_old"] != both["value_new"])]
    if not len(differing):
        return Agreement(run, same_kind, len(both), 0, "", True)
    excess = (both["value_new"] - both["value_old"]).abs() / _allowed(both)
    excess[missing] = float("inf")
    judged = excess if same_kind else excess[missing | (both["index_name"] == "")]
    worst = both.loc[excess.idxmax()]
    text = f"{worst['metric']} {worst['split']} {worst['value_old']:.6g} then, {worst['value_new']:.6g} now"
    agrees = not same_kind and bool((judged <= 1).all())
    return Agreement(run, same_kind, len(both), len(differing), " ".join(text.split()), agrees)


def _allowed(both: pd.DataFrame) -> pd.Series:
    decibels = both["metric"].map(lambda metric: METRICS[metric].unit == "dB")
    return (RELATIVE * both["value_old"].abs()).clip(lower=SMALL).where(~decibels, DECIBELS)

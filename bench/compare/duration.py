"""How long a comparison will take, by the stored times of the suite's own networks. Torch-free."""

from __future__ import annotations

from collections import defaultdict

from bench.results import baselines
from bench.results.measures import controls
from bench.results.tidy import read_tidy
from bench.suite.forecast import passes
from bench.suite.options import RunSpec
from bench.suite.plan import Plan
from bench.support import paths


def duration(suite: Plan) -> str:
    """Return in words what the candidate's trainings and measurements took of each network that the suite has stored."""
    record = baselines.stored(suite.suite)
    untrained = controls(read_tidy(paths.baseline_table(suite.suite)))
    totals: dict[str, float] = defaultdict(float)
    wanted = [run for run in suite.runs.values() if run.model.name == suite.candidate]
    for run in wanted:
        for name in {spec.model.name for spec in suite.runs.values()} - untrained - {suite.candidate}:
            stored = record["runs"].get(f"{run.dataset}.{name}.n{run.train_size}.s{run.shuffle}")
            totals[name] += stored["seconds"] * _share(suite, run) if stored else float("nan")
    known = sorted(total / 60 for total in totals.values() if total == total)
    if not known:
        return f"{len(wanted)} runs; no stored network has trained on all of them, so the time is unknown"
    devices = {e["cpu"] if e["device"] == "cpu" else e["device"] for e in record["environments"]}
    return (
        f"{len(wanted)} runs; as many took {known[0]:.0f} to {known[-1]:.0f} minutes for the stored networks, one after the "
        f"other, on {' or '.join(sorted(devices))}"
    )


def _share(suite: Plan, run: RunSpec) -> float:
    """Return the time of training and measuring over that of training, by forward passes."""
    row = suite.datasets[run.dataset]

    def count(rule: str) -> float:
        return passes(rule, run, row.resolution**2 * row.channels) or 0.0

    return 1 + sum(map(count, suite.metrics(run.name))) / count("train")

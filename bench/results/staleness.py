"""Which stored measurements are out of date with the current code, options or data. Torch-free."""

from __future__ import annotations

import functools
from collections.abc import Callable, Container, Iterable, Iterator, Sequence

from bench.results.baselines import stored
from bench.suite import config, plan
from bench.suite.plan import Plan
from bench.support import paths
from bench.support.errors import BenchError
from bench.support.files import digest, read_json, write_json
from bench.support.options import to_dict

Status = dict[tuple[str, str], str]
# Reasons that concern the training itself
_OF_TRAINING = (
    "training options changed",
    "code of train changed",
    "is another version here",
    "not in the suite",
)


def status(suite: Plan, local_data: bool = True) -> Status:
    """Return (run, metric) -> why the stored measurement is out of date, '' if it is current.

    ``local_data=False`` leaves out whether the datasets built in this folder are of another version.
    """
    record = stored(suite.suite)
    why = _judge(suite, record, local_data)
    return {
        (run, metric): why(run, metric) for run, made in record["runs"].items() for metric in made["metrics"]
    }


def _judge(suite: Plan, record: dict, local_data: bool = True) -> Callable[[str, str], str]:
    """Return the function that says of a stored run and metric why it is out of date, once for each."""
    accepted = record.get("accepted", {})

    @functools.cache
    def why(run: str, metric: str) -> str:
        if run not in suite.runs:
            return "not in the suite"
        return ", ".join(_reasons(suite, run, metric, record["runs"][run], accepted, local_data))

    return why


def _reasons(
    suite: Plan, run: str, metric: str, made: dict, accepted: dict, local_data: bool
) -> Iterator[str]:
    for what, old, new in changes(suite, run, metric, made):
        if old != new and new not in accepted.get(old, []):
            yield what
    manifest = paths.dataset_folder(suite.run(run).dataset) / "manifest.json"
    if local_data and manifest.exists() and read_json(manifest)["sha256"] != made["data"]:
        yield f"{suite.run(run).dataset} is another version here"


def changes(suite: Plan, run: str, metric: str, made: dict) -> Iterator[tuple[str, str, str]]:
    """Yield (what may have changed, digest when it was stored, digest now) of a stored measurement: options and code."""
    yield "training options changed", made["recipe"], suite.recipe(run)
    before, wanted = made["metrics"][metric], getattr(suite.run(run).measure, metric, None)
    if wanted is None and before["options"] is not None:
        yield "no longer measured", "stored", ""
        return
    yield f"{metric} options changed", digest(before["options"]), digest(to_dict(wanted) if wanted else None)
    for rule, code in suite.codes(metric, run).items():
        yield f"code of {rule} changed", before["code"].get(rule, ""), code


def accept(suite: Plan) -> int:
    """Record the current digests of code and options beside those that the baselines were stored with; return how many.

    To be done where the numbers are shown to be the same: code that moved, an option that was added.
    """
    record = stored(suite.suite)
    accepted: dict[str, list[str]] = record.setdefault("accepted", {})
    added = 0
    for run, made in record["runs"].items():
        for metric in made["metrics"] if run in suite.runs else ():
            for _, old, new in changes(suite, run, metric, made):
                if new not in ("", old, *accepted.get(old, [])):
                    accepted.setdefault(old, []).append(new)
                    added += 1
    write_json(paths.baselines_folder(suite.suite) / "provenance.json", record)
    return added


def first_reason(status: Status, runs: Iterable[str], metric: str) -> str:
    """Return why the first out-of-date one of these runs' measurements is so, or an empty string."""
    return next(filter(None, (status.get((run, metric), "") for run in runs)), "")


@functools.lru_cache(maxsize=1)
def _stored(suite: str, inputs: tuple) -> tuple[dict[str, dict], Callable[[str, str], str]]:
    """Return the stored runs and :func:`_judge`, once for all items of a process; ``inputs`` are the files they need."""
    record = stored(suite)
    return record["runs"], _judge(plan.load(suite), record)


def _inputs(suite: str) -> tuple:
    """Return the files that the status of a suite depends on, with size and time of change."""
    record = paths.baselines_folder(suite) / "provenance.json"
    built = paths.RESULTS.glob("datasets/*/manifest.json")
    files = [*config.folder().rglob("*.yaml"), record, *built]
    return tuple(
        (str(f.resolve()), f.stat().st_mtime_ns, f.stat().st_size) for f in sorted(files) if f.exists()
    )


def note(suite: str, runs: Container[str], measures: Sequence[str]) -> str:
    """Return a sentence for the caption of what shows these runs' measurements; empty if all are current.

    The measurement ``training`` is the run itself.
    """
    try:
        every, why = _stored(suite, _inputs(suite))
        made = {run: one["metrics"] for run, one in every.items() if run in runs and one["metrics"]}
        shown = {(run, m): why(run, m) for run, metrics in made.items() for m in metrics if m in measures}
        if "training" in measures:
            shown |= {(run, "training"): _of_training(why(run, m) for m in made[run]) for run in made}
    except BenchError as error:
        return f" Whether the stored rows are out of date is unknown: {error}"
    stale = {key: reason for key, reason in shown.items() if reason}
    if not stale:
        return ""
    (run, metric), reason = next(iter(stale.items()))
    return (
        f" STALE: {len(stale)} of {len(shown)} stored measurements behind it are out of date with the current code, "
        f"options or data, the first: {metric} of {run} ({reason})."
    )


def _of_training(reasons: Iterable[str]) -> str:
    """Return what concerns the training itself in the reasons of a run's measurements; empty if nothing does."""
    own = (
        ", ".join(reason for reason in why.split(", ") if reason.endswith(_OF_TRAINING)) for why in reasons
    )
    return next(filter(None, own), "")

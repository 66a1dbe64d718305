"""Whether what lies here was made as it is planned now, by its own record: the question of ``bench why``.

Snakemake asks its own records, and trusts an output that it has none of: made outside Snakemake, or copied.  The workflow
asks here too.  Every function returns True if the output does not exist.
"""

from __future__ import annotations

from pathlib import Path

from bench.data.record import is_current, is_order_current
from bench.suite.options import trained_spec
from bench.suite.plan import Plan
from bench.support import paths
from bench.support.errors import BenchError
from bench.support.files import digest, read_json
from bench.support.options import to_dict
from bench.training.options import recipe


def dataset(plan: Plan, name: str) -> bool:
    """Whether a dataset was built from its row as it is, by the code as it is."""
    folder = paths.dataset_folder(name)
    here = (folder / "manifest.json").exists()
    return not here or is_current(folder, plan.all_datasets[name], plan.code("dataset"))


def subset(plan: Plan, dataset: str, shuffle: int) -> bool:
    """Whether a shuffle's order is of the dataset that lies here, drawn by the code as it is."""
    file = paths.subset_file(dataset, shuffle)
    return not file.exists() or is_order_current(file, paths.dataset_folder(dataset), plan.code("subset"))


def planned(plan: Plan) -> bool:
    """Whether ``plan.json`` is this plan."""
    made, whole = _read(paths.plan_file(plan.suite)), plan.whole()
    return made is None or digest({key: made.get(key) for key in whole}) == digest(whole)


def trained(plan: Plan, run: str) -> bool:
    """Whether a run was trained with these options and this code, on the data that lie here."""
    made = _read(paths.run_folder(plan.suite, run) / "run.json")
    if made is None:
        return True
    manifest = _read(paths.dataset_folder(plan.run(run).dataset) / "manifest.json")
    try:
        same_options = digest(recipe(trained_spec(made))) == plan.recipe(run)
        same_code = made["code"]["fingerprint"] == plan.code("train", run)
        return same_options and same_code and (not manifest or made["data"]["sha256"] == manifest["sha256"])
    except (BenchError, KeyError, TypeError):
        return False


def measured(plan: Plan, run: str) -> bool:
    """Whether each measurement of a run was taken of this training, with these options and this code."""
    made = _read(paths.measured_files(plan.suite, run)[1])
    trained = _read(
        paths.run_folder(plan.suite, run) / "run.json"
    )  # without it, the run is trained again first
    return made is None or not trained or not out_of_date(plan, run)


def out_of_date(plan: Plan, run: str) -> list[str]:
    """Return the measurements of a trained run whose declared results are missing or out of date.

    Its weights need not be here: they may stay where it was trained.
    """
    table, file = paths.measured_files(plan.suite, run)
    made = (_read(file) or {}) if table.exists() else {}
    found = depends(plan, run, read_json(paths.run_folder(plan.suite, run) / "run.json"))
    return [
        metric
        for metric, now in found.items()
        if not now.items() <= made.get(metric, {}).get("depends", {}).items()
    ]


def depends(plan: Plan, run: str, trained: dict) -> dict[str, dict]:
    """Return by metric what a current measurement of a trained run depends on beside its weights."""
    spec, found = plan.run(run), {}
    for metric in plan.metrics(run):
        options = getattr(spec.measure, metric, None)
        found[metric] = {
            "code": plan.codes(metric, run) | {"train": trained["code"]["fingerprint"]},
            "options": to_dict(options) if options else None,
            "data": trained["data"]["sha256"],
        }
    return found


def _read(file: Path) -> dict | None:
    """Return a record; {} if it is damaged, None if there is none."""
    try:
        return read_json(file) if file.exists() else None
    except BenchError:
        return {}

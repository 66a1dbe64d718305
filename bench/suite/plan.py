"""From a suite's YAML to its runs and files. Imports neither torch nor the model files.

Snakemake parses this module's answers in every job, so it must stay quick.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from bench.data.options import DatasetOptions
from bench.metrics.declare import Reference, measurements
from bench.models import registry
from bench.models.spec import ModelSpec
from bench.suite import candidate, config, submitted
from bench.suite.grid import Known, counted, expand
from bench.suite.options import RunSpec
from bench.support import paths
from bench.support.errors import BenchError, nearest
from bench.support.files import digest, read_json, write_json
from bench.support.fingerprint import fingerprint
from bench.support.options import from_dict, to_dict
from bench.training.options import TrainingOptions, recipe

TUNED = "tune"  # the runs of `bench tune`, which are trained here though no file lists them
KINDS = ("statistics", "classifier", "wiener")  # of references
# The entry points of each rule that takes no measurement
ENTRIES = {
    "dataset": ("bench.data.build",),
    "subset": ("bench.data.subset",),
    "train": ("bench.training.train",),
} | {kind: (f"bench.metrics.numerics.{kind}",) for kind in KINDS}


@dataclass(frozen=True)
class Plan:
    """A suite, resolved: what it shows, its runs by name, and the fingerprints of what it needs."""

    suite: str
    title: str
    items: dict[str, config.ItemOptions]
    runs: dict[str, RunSpec]
    models: dict[str, config.ModelPreset]
    all_datasets: dict[str, DatasetOptions]
    candidate: str | None = None  # the architecture that is compared with the suite's models

    @cached_property
    def datasets(self) -> dict[str, Any]:
        """The datasets that the runs use, in order of first use."""
        return {run.dataset: self.all_datasets[run.dataset] for run in self.runs.values()}

    @cached_property
    def shuffles(self) -> list[tuple[str, int]]:
        """The (dataset, shuffle) pairs that the runs use."""
        return list(dict.fromkeys((run.dataset, run.shuffle) for run in self.runs.values()))

    def metrics(self, run: str) -> list[str]:
        """Return the measurements that are taken of a run, each after those that it needs."""
        measure = self.run(run).measure
        known = measurements().items()
        return [name for name, one in known if one.options is None or getattr(measure, name) is not None]

    def run(self, name: str) -> RunSpec:
        """Return one run; raises BenchError with the nearest name."""
        if name not in self.runs:
            raise BenchError(f"Suite {self.suite!r} has no run {name!r}{nearest(name, self.runs)}.")
        return self.runs[name]

    def code(self, rule: str, run: str | None = None) -> str:
        """Return the code fingerprint of a rule, for a run with its model's own files."""
        return self._code(*entries(rule, self.run(run).model if run else None))

    @cached_property
    def _code(self) -> Callable[..., str]:
        return functools.cache(submitted.code)

    def codes(self, metric: str, run: str) -> dict[str, str]:
        """Return the fingerprint of every rule behind a number of a run, by rule."""
        references = [reference.kind for reference in self.references(metric, run)]
        rules = ("train", *measurements()[metric].needs, *references, metric)
        return {rule: self.code(rule, run) for rule in rules}

    def references(self, metric: str, run: str) -> list[Reference]:
        """Return what a measurement of a run reads of datasets."""
        spec = self.run(run)
        options = getattr(spec.measure, metric, None)
        return measurements()[metric].references(options, spec.dataset) if options else []

    def measured_by(self, run: str) -> str:
        """Return the digest of all that a run's measurements depend on beside its weights: options and code."""
        codes = {metric: self.codes(metric, run) for metric in self.metrics(run)}
        return digest([codes, to_dict(self.run(run).measure)])

    def recipe(self, run: str) -> str:
        """Return the digest of the options that a training depends on."""
        return self._recipe(run)

    @cached_property
    def _recipe(self) -> Callable[[str], str]:
        return functools.cache(lambda run: digest(recipe(self.run(run))))

    def item_digest(self, item: str) -> str:
        """Return the digest of what an item shows: its options, and the labels of models and datasets."""
        summary = self.summary()
        return digest([summary["items"].get(item), summary["models"], summary["datasets"]])

    def summary(self) -> dict:
        """Return the plan as JSON values: what the report needs to know beside the tidy table."""
        return dict(self._summary)

    @cached_property
    def _summary(self) -> dict:
        names = dict.fromkeys(run.model.name for run in self.runs.values())
        return {
            "suite": self.suite,
            "title": self.title,
            "candidate": self.candidate,
            "items": {item: to_dict(value) for item, value in self.items.items()},
            "models": {name: to_dict(self.models[name]) for name in names},
            "datasets": {name: _describe(row) for name, row in self.datasets.items()},
            "runs": [to_dict(run) for run in self.runs.values()],
        }

    def whole(self) -> dict:
        """Return :meth:`summary` with the datasets' whole options as ``sources``, so that :func:`read` needs no YAML."""
        bases = {row.base: self.all_datasets[row.base] for row in self.datasets.values() if row.base}
        return self.summary() | {
            "sources": {name: to_dict(row) for name, row in (bases | self.datasets).items()}
        }

    def write(self, costs: dict | None = None) -> None:
        """Write ``results/SUITE/plan.json``; ``costs`` is model -> image -> parameters and multiply-adds."""
        write_json(paths.plan_file(self.suite), self.whole() | {"costs": costs or {}})

    def submit(self, *more: tuple[str, ...], files: str) -> Path:
        """Write the plan with all its fingerprints, and those of ``more`` entry points, for jobs; return the file.

        ``files`` is :func:`submitted.files` from before any of them was parsed. It is not part of the file's name, so
        that an edited comment makes no new plan.
        """
        rules = [entries(rule) for rule in ENTRIES]
        networks = {run.model.name: run.model for run in self.runs.values()}.values()
        rules += [entries(rule, model) for model in networks for rule in ("train", *measurements())]
        codes = {submitted.key(*rule): fingerprint(*rule) for rule in (*rules, *more)}
        whole = self.whole() | {"codes": codes}
        file = paths.submitted_plan(self.suite, digest(whole))
        if not file.exists() or read_json(file).get("files") != files:
            write_json(file, whole | {"files": files})
        return file


def entries(rule: str, model: ModelSpec | None = None) -> list[str]:
    """Return the entry points whose import closure a rule's result depends on."""
    if rule in (known := measurements()):
        own, network = [known[rule].module, "bench.jobs.run"], known[rule].network
    else:
        own, network = list(ENTRIES[rule]), rule == "train"
    return [*own, *([registry.module_of(model)] if model is not None and network else [])]


def reference_code(reference: Reference) -> str:
    """Return the code fingerprint of what measurements need of a dataset; raises BenchError for an unknown name."""
    return submitted.code(*reference_entries(reference))


def reference_entries(reference: Reference) -> list[str]:
    """Return the entry points of what measurements need of a dataset; raises BenchError for an unknown name."""
    if reference.kind not in KINDS:
        raise BenchError(
            f"There is no reference {reference.name!r}; give wiener, classifier or SPACE.POOL.COUNT, "
            "for instance random-conv.train.all."
        )
    return entries(reference.kind)


def _describe(row: Any) -> dict:
    keys = ("title", "redistribute", "resolution", "channels", "family", "parameters", "base", "variant")
    return {key: getattr(row, key) for key in keys}


def load(suite: str) -> Plan:
    """Resolve a suite, with the candidate that ``BENCH_MODEL`` names; or take it as it was planned for this job.

    A suite of adopted networks is its plan.
    Raises BenchError for an unknown dataset, model or option, pools that are too small, and runs that clash.
    """
    if file := submitted.plan_file(suite):
        return read(file)
    if is_adopted(suite):
        return read(paths.plan_file(suite))
    known = Known(config.load_models(), counted(config.load_datasets()))
    options, where = config.load_suite(suite), str(config.suite_path(suite))
    runs = expand(suite, options, known, where)
    wanted, models, name = candidate.from_environment(), dict(known.models), None
    if wanted is not None:
        name, models[name], new = candidate.runs_of(wanted, suite, options, runs, known)
        runs |= new
    check_items(options.items, runs, where)
    return Plan(suite, options.title, options.items, runs, models, config.load_datasets(), name)


def is_adopted(suite: str) -> bool:
    """Return whether a suite holds networks that were trained elsewhere: it has a plan, and no file in ``config/``."""
    return suite not in (*config.suites(), TUNED) and paths.plan_file(suite).exists()


def check_items(items: dict[str, config.ItemOptions], runs: dict[str, RunSpec], where: str) -> None:
    """Refuse an item that is to show a dataset, model or N that the suite does not train; raises BenchError."""
    trained: dict[str, set] = {
        "datasets": {run.dataset for run in runs.values()},
        "models": {run.model.name for run in runs.values()},
        "train_sizes": {run.train_size for run in runs.values()},
    }
    for item, shown in items.items():
        for key, names in trained.items():
            for name in getattr(shown, key) or []:
                if name not in names:
                    raise BenchError(
                        f"{where}: items.{item}.{key}: the suite trains no {name!r}{nearest(str(name), map(str, names))}."
                    )


def read(file: Path) -> Plan:
    """Read a plan that was written; pydantic is not needed.  Raises BenchError if there is none."""
    if not file.exists():
        raise BenchError(
            f"{file} does not exist; write it with `bench check --suite {file.parent.name}`, or copy it here."
        )
    written = read_json(file)

    def table(key: str, kind: type) -> dict[str, Any]:
        return {name: from_dict(kind, value) for name, value in written[key].items()}

    return Plan(
        suite=written["suite"],
        title=written["title"],
        items=table("items", config.ItemOptions),
        runs={run["name"]: from_dict(RunSpec, run) for run in written["runs"]},
        models=table("models", config.ModelPreset),
        all_datasets=table("sources", DatasetOptions),
        candidate=written["candidate"],
    )


def option_table() -> list[tuple[str, str, Any, str, str]]:
    """Return (class, option, default, status, meaning) of every option: the protocol table."""
    kinds = [TrainingOptions, *(one.options for one in measurements().values() if one.options)]
    return [
        (kind.__name__, f.name, default_of(f), f.metadata["status"], f.metadata["description"])
        for kind in kinds
        for f in dataclasses.fields(kind)
    ]


def default_of(field: dataclasses.Field) -> Any:
    """Return the default of an option."""
    return field.default_factory() if callable(field.default_factory) else field.default

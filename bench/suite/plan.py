"""From a suite's YAML to its runs and files. Imports neither torch nor the model files.

Snakemake parses this module's answers in every job, so it must stay quick.
"""

from __future__ import annotations

import dataclasses
import itertools
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from bench.data.options import DatasetOptions
from bench.metrics.declare import Reference, measurements
from bench.models import registry
from bench.models.spec import ModelSpec
from bench.suite import candidate, config, options
from bench.suite.options import RunSpec
from bench.suite.strict import validate
from bench.support import paths
from bench.support.errors import BenchError, nearest
from bench.support.files import digest, read_json, write_json
from bench.support.fingerprint import fingerprint
from bench.support.options import from_dict, to_dict
from bench.training.options import TrainingOptions, recipe

KINDS = ("statistics", "classifier", "wiener")  # of references
# The entry points of each rule that takes no measurement
ENTRIES = {
    "dataset": ("bench.data.build",),
    "subset": ("bench.data.subset",),
    "train": ("bench.training.train",),
} | {kind: (f"bench.metrics.numerics.{kind}",) for kind in KINDS}


@dataclass(frozen=True)
class Plan:
    """A suite, resolved: its options, its runs by name, and the fingerprints of what it needs."""

    suite: str
    options: config.SuiteOptions
    runs: dict[str, RunSpec]
    models: dict[str, config.ModelPreset]
    all_datasets: dict[str, Any]
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
        found = tuple(entries(rule, self.run(run).model if run else None))
        if found not in self._codes:
            self._codes[found] = fingerprint(*found)
        return self._codes[found]

    @cached_property
    def _codes(self) -> dict[tuple[str, ...], str]:
        return {}

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
        return digest(recipe(self.run(run)))

    def item_digest(self, item: str) -> str:
        """Return the digest of what an item shows: its options, and the labels of models and datasets."""
        return digest(
            [self.summary()["items"].get(item), self.summary()["models"], self.summary()["datasets"]]
        )

    def summary(self) -> dict:
        """Return the plan as JSON values: what the report needs to know beside the tidy table."""
        names = dict.fromkeys(run.model.name for run in self.runs.values())
        return {
            "suite": self.suite,
            "title": self.options.title,
            "items": {item: to_dict(value) for item, value in self.options.items.items()},
            "models": {name: to_dict(self.models[name]) for name in names},
            "datasets": {name: _describe(row) for name, row in self.datasets.items()},
            "runs": [to_dict(run) for run in self.runs.values()],
        }

    def write(self, costs: dict | None = None) -> None:
        """Write ``results/SUITE/plan.json``; ``costs`` is model -> image -> parameters and multiply-adds.

        ``sources`` are the datasets' whole options, so that :func:`read` needs no YAML.
        """
        bases = {row.base: self.all_datasets[row.base] for row in self.datasets.values() if row.base}
        sources = {name: to_dict(row) for name, row in (bases | self.datasets).items()}
        write_json(paths.plan_file(self.suite), self.summary() | {"costs": costs or {}, "sources": sources})


def entries(rule: str, model: ModelSpec | None = None) -> list[str]:
    """Return the entry points whose import closure a rule's result depends on."""
    if rule in (known := measurements()):
        own = (known[rule].module, "bench.jobs.run")
        network = known[rule].network
    else:
        own, network = ENTRIES[rule], rule == "train"
    return [*own, *([registry.module_of(model)] if model is not None and network else [])]


def reference_code(reference: Reference) -> str:
    """Return the code fingerprint of what measurements need of a dataset; raises BenchError for an unknown name."""
    if reference.kind not in KINDS:
        raise BenchError(
            f"There is no reference {reference.name!r}; say wiener, classifier or SPACE.POOL.COUNT, "
            "for instance random-conv.train.all."
        )
    return fingerprint(*entries(reference.kind))


def _describe(row: Any) -> dict:
    keys = ("title", "redistribute", "resolution", "channels", "family", "parameters", "variant")
    return {key: getattr(row, key) for key in keys}


def load(suite: str) -> Plan:
    """Resolve a suite, with the candidate that ``BENCH_MODEL`` names.

    Raises BenchError for an unknown dataset, model or option, and for runs that clash.
    """
    models, datasets = config.load_models(), config.load_datasets()
    suite_options = config.load_suite(suite)
    where = str(config.suite_path(suite))
    runs: dict[str, RunSpec] = {}
    for number, grid in enumerate(suite_options.runs):
        for run in _grid(suite, suite_options, grid, models, datasets, f"{where}: runs.{number}"):
            if runs.setdefault(run.name, run) != run:
                raise BenchError(
                    f"{where}: runs.{number}: {run.name} stands twice with different options; give one block a `recipe`."
                )
    plan = Plan(suite, suite_options, runs, models, datasets)
    wanted = candidate.from_environment()
    plan = candidate.add(plan, wanted, models) if wanted else plan
    for run in plan.runs.values():
        _check_partner(run, plan.runs, where)
    return plan


def _check_partner(run: RunSpec, runs: dict[str, RunSpec], where: str) -> None:
    """Refuse a half b that is to be compared with a half a that the suite has not, or trains otherwise."""
    if run.measure.halves is None:
        return
    partner = runs.get(run.partner)
    if partner is None:
        raise BenchError(
            f"{where}: {run.name} is compared with {run.partner}, which the suite does not train."
        )
    if run.training != partner.training:
        raise BenchError(f"{where}: {run.name} and {run.partner} must be trained with the same options.")


def _grid(suite, suite_options, grid, models, datasets, where) -> list[RunSpec]:
    training = validate(
        TrainingOptions, {**to_dict(suite_options.training), **grid.training}, f"{where}: training"
    )
    for key, known in (("datasets", datasets), ("models", models)):
        for name in getattr(grid, key):
            if name not in known:
                raise BenchError(
                    f"{where}: {key}: {name!r} is not in config/{key}.yaml{nearest(name, known)}."
                )
    product = itertools.product(grid.datasets, grid.models, grid.train_sizes, grid.shuffles)
    wanted = suite_options.measure
    runs = [_run(suite, d, models[m], m, n, s, grid, training, wanted) for d, m, n, s in product]
    return [options.measured(run, grid.measure, datasets, where) for run in runs]


def _run(suite, dataset, preset, model, size, shuffle, grid, training, measure) -> RunSpec:
    recipe = "-".join(part for part in (grid.recipe, "half-b" if grid.half == "b" else "") if part)
    name = f"{dataset}.{model}.n{size}.s{shuffle}" + (f".{recipe}" if recipe else "")
    spec = ModelSpec(model, preset.family, preset.options, preset.file)
    return RunSpec(suite, name, dataset, spec, size, shuffle, recipe, training, measure, grid.half)


def read(suite: str) -> Plan:
    """Return the plan that ``bench check`` wrote, with its runs and datasets: for machines without pydantic.

    ``options`` and ``models``, which are for readers, are left out.  Raises BenchError where there is none.
    """
    file = paths.plan_file(suite)
    if not file.exists():
        raise BenchError(
            f"{file} does not exist; write it with `bench check --suite {suite}`, or copy it here."
        )
    written = read_json(file)
    runs = {run["name"]: from_dict(RunSpec, run) for run in written["runs"]}
    rows = {name: from_dict(DatasetOptions, row) for name, row in written["sources"].items()}
    return Plan(suite, None, runs, {}, rows)


def option_table() -> list[tuple[str, str, Any, str, str]]:
    """Return (class, option, default, status, meaning) of every option: the protocol table."""
    kinds = [TrainingOptions, *(one.options for one in measurements().values() if one.options)]
    return [
        (kind.__name__, f.name, _default(f), f.metadata["status"], f.metadata["description"])
        for kind in kinds
        for f in dataclasses.fields(kind)
    ]


def _default(field: dataclasses.Field) -> Any:
    return field.default if field.default is not dataclasses.MISSING else field.default_factory()

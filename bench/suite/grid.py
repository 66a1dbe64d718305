"""From the blocks of a suite to its runs, with all that is wrong with them said before anything runs."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from bench.data.options import DatasetOptions
from bench.data.record import pool_sizes
from bench.models.families import CONTROLS
from bench.models.spec import ModelSpec
from bench.suite.config import GridOptions, ModelPreset, SuiteOptions, check_part
from bench.suite.options import HALF_BUDGET, MeasureOptions, RunSpec, measured
from bench.suite.strict import validate
from bench.support import paths
from bench.support.errors import BenchError, nearest
from bench.support.options import to_dict
from bench.training.options import TrainingOptions


class Known(NamedTuple):
    """What blocks may name: model presets, and datasets with the sizes of their pools."""

    models: Mapping[str, ModelPreset]
    datasets: Mapping[str, DatasetOptions]


def expand(suite: str, options: SuiteOptions, known: Known, where: str) -> dict[str, RunSpec]:
    """Return the runs of a suite by name.

    Raises BenchError, which begins with ``where`` and the block, for an unknown dataset or model, a pool that is too
    small, measurements that cannot be taken, and runs that clash.
    """
    runs: dict[str, RunSpec] = {}
    for number, grid in enumerate(options.runs):
        for run in _block(suite, options, grid, known, f"{where}: runs.{number}"):
            if runs.setdefault(run.name, run) != run:
                raise BenchError(
                    f"{where}: runs.{number}: {run.name} is listed twice with different options; "
                    "give one block a `recipe`."
                )
    if options.half_budget:
        runs = {run.name: run for run in _with_half_budgets(runs.values())}
    for run in runs.values():
        _check_partner(run, runs, where)
    return runs


def run_of(
    suite: str, dataset: str, model: ModelSpec, size: int, shuffle: int, recipe: str, **more: Any
) -> RunSpec:
    """Return one run under the name that its parts give it; ``more`` are training, measure and half."""
    name = f"{dataset}.{model.name}.n{size}.s{shuffle}" + (f".{recipe}" if recipe else "")
    return RunSpec(suite, name, dataset, model, size, shuffle, recipe, **more)


def counted(datasets: Mapping[str, DatasetOptions]) -> dict[str, DatasetOptions]:
    """Return datasets with the sizes of their pools as far as they are known: of those built here exactly."""
    found = {}
    for name, row in datasets.items():
        sizes = pool_sizes(paths.dataset_folder(name), row)
        known: dict[str, Any] = {pool: size for pool, size in sizes.items() if size is not None}
        found[name] = dataclasses.replace(row, **known)
    return found


def _block(
    suite: str, options: SuiteOptions, grid: GridOptions, known: Known, where: str
) -> Iterator[RunSpec]:
    training = validate(TrainingOptions, {**to_dict(options.training), **grid.training}, f"{where}: training")
    for key in ("datasets", "models"):
        for name in getattr(grid, key):
            if name not in (table := getattr(known, key)):
                raise BenchError(
                    f"{where}: {key}: {name!r} is not in config/{key}.yaml{nearest(name, table)}."
                )
    if grid.recipe:
        check_part(grid.recipe, f"{where}: a recipe")
    recipe = "-".join(part for part in (grid.recipe, "half-b" if grid.half == "b" else "") if part)
    product = itertools.product(grid.datasets, grid.models, grid.train_sizes, grid.shuffles)
    for dataset, model, size, shuffle in product:
        _check_pool(dataset, size * (2 if grid.half == "b" else 1), known.datasets[dataset], where)
        run = run_of(
            suite, dataset, known.models[model].spec(model), size, shuffle, recipe,
            training=training, measure=options.measure, half=grid.half,
        )  # fmt: skip
        yield measured(run, grid.measure, known.datasets, where)


def _check_pool(dataset: str, needed: int, row: DatasetOptions, where: str) -> None:
    if row.train is not None and needed > row.train:
        raise BenchError(
            f"{where}: train_sizes: {needed} training images are needed, but {dataset} has {row.train}; "
            "lower N, or raise `train` of the dataset."
        )


def _with_half_budgets(runs: Iterable[RunSpec]) -> Iterator[RunSpec]:
    """Yield the runs and, behind the first of each dataset, model and N, that of half the steps.

    It tells what has settled, so a suite that is measured in part has words for its runs.
    """
    seen = set()
    for run in runs:
        yield run
        cell = run.dataset, run.model.name, run.train_size, run.recipe
        if cell in seen or run.half == "b" or run.model.family in CONTROLS or run.measure.psnr is None:
            continue
        seen.add(cell)
        steps = max(run.training.steps // 2, 1)
        warmup = min(run.training.warmup, steps - 1)
        training = dataclasses.replace(run.training, steps=steps, warmup=warmup, snapshots=[], checkpoints=0)
        yield run_of(
            run.suite, run.dataset, run.model, run.train_size, run.shuffle,
            f"{run.recipe}-{HALF_BUDGET}".lstrip("-"),
            training=training, measure=MeasureOptions(psnr=run.measure.psnr),
        )  # fmt: skip


def _check_partner(run: RunSpec, runs: Mapping[str, RunSpec], where: str) -> None:
    """Refuse a half b whose half a the suite does not train, or trains differently."""
    if run.measure.halves is None:
        return
    partner = runs.get(run.partner)
    if partner is None:
        raise BenchError(
            f"{where}: {run.name} is compared with {run.partner}, which the suite does not train."
        )
    if run.training != partner.training:
        raise BenchError(f"{where}: {run.name} and {run.partner} must be trained with the same options.")

"""What can be known of a suite before its first job: each of its networks can be built and takes its images."""

from __future__ import annotations

import itertools
from collections import Counter

import torch
from torch import nn

from bench.diffusion.prediction import check_target
from bench.models.costs import macs, parameters
from bench.models.registry import build, check_schedule, same_network
from bench.suite.options import RunSpec
from bench.suite.plan import Plan
from bench.support.errors import BenchError
from bench.support.files import digest
from bench.support.options import to_dict
from bench.training.labels import check_labels


def check(suite: Plan) -> int:
    """Build each pair of model and dataset on the meta device, count its cost, write ``plan.json``.

    Returns the number of pairs; raises BenchError if one cannot be built or does not take the dataset's images.
    """
    costs: dict[str, dict] = {}
    pairs: dict[tuple, RunSpec] = {}
    for run in suite.runs.values():
        one = run.training
        key = run.model.name, run.dataset, one.schedule, one.timesteps, one.prediction, one.labels
        pairs.setdefault(key, run)
    for run in pairs.values():
        row = suite.datasets[run.dataset]
        side, channels = row.resolution, row.channels
        with torch.device("meta"):
            model = build(run.model, side, channels)
        check_schedule(run.model, model, run.training.schedule, run.training.timesteps)
        check_target(model, run.training, run.model.name)
        check_labels(run, model)
        trains = getattr(model, "trains", True)
        if trains:
            _try(model, run, side, channels)
        known = costs.setdefault(run.model.name, {})
        if (image := f"{side}x{side}x{channels}") not in known:
            count = macs(model, side, channels).total if trains else None
            known[image] = {"parameters": parameters(model), "macs": count}
    suite.write(costs)
    return len(pairs)


def trained_twice(suite: Plan) -> list[str]:
    """Return a sentence for each pair of presets that name the same network, trained with equal options."""
    trainings: dict[str, dict[str, set[str]]] = {}  # cell -> digest of training -> models
    for run in suite.runs.values():
        cell = f"{run.dataset}.n{run.train_size}.s{run.shuffle}.{run.half}"
        trainings.setdefault(cell, {}).setdefault(digest(to_dict(run.training)), set()).add(run.model.name)
    together: Counter[tuple[str, str]] = Counter()
    for models in (names for by_training in trainings.values() for names in by_training.values()):
        together.update(itertools.combinations(sorted(models), 2))
    specs = {
        run.model.name: (run.model, suite.datasets[run.dataset].resolution) for run in suite.runs.values()
    }
    return [
        f"{one} and {other} are the same network, and {count} of their runs are trained twice; list one of them"
        for (one, other), count in together.items()
        if specs[one][0].family == specs[other][0].family
        and same_network(specs[one][0], specs[other][0], specs[one][1])
    ]


def _try(model: nn.Module, run: RunSpec, side: int, channels: int) -> None:
    """Pass one image without memory; raises BenchError if the network cannot take the dataset's images."""
    x = torch.zeros(1, channels, side, side, device="meta")
    image, whose = f"{side}x{side}x{channels}", run.model.file or "The network"
    try:
        with torch.no_grad():
            shape = model.eval()(x, torch.zeros(1, dtype=torch.int64, device="meta")).shape
    except Exception as error:
        said = next(iter(str(error).splitlines()), "")
        raise BenchError(
            f"{whose}: the forward pass of {run.model.name} fails for {image} images "
            f"({type(error).__name__}: {said}); fix the file (`bench models check` says more), or choose another "
            f"dataset than {run.dataset}."
        ) from error
    if shape != x.shape:
        raise BenchError(
            f"{whose}: {run.model.name} returns {tuple(shape)} for {image} images, {tuple(x.shape)}; its forward must "
            "return the predicted noise, in the shape of the images."
        )

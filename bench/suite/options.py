"""A run, fully resolved, from the options that each room declares. Torch-free."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from bench.data.options import DatasetOptions
from bench.metrics.declare import measurements
from bench.models.spec import ModelSpec
from bench.support.errors import BenchError
from bench.support.options import STRICT, from_dict, option
from bench.training.options import TrainingOptions

if TYPE_CHECKING:

    @dataclass(frozen=True)
    class MeasureOptions:
        def __init__(self, **chosen: Any) -> None: ...
        def __getattr__(self, name: str) -> Any: ...

else:
    MeasureOptions = dataclasses.make_dataclass(
        "MeasureOptions",
        [
            (name, one.options | None, option(None, one.options.__doc__))
            for name, one in measurements().items()
            if one.options
        ],
        namespace={
            "__module__": __name__,
            "__doc__": "What is measured of each run; a measurement that is null is left out.",
            "__pydantic_config__": STRICT,
        },
        frozen=True,
    )

HALF_BUDGET = "half-budget"  # recipe of a run that is trained for half the steps

METRICS = tuple(f.name for f in dataclasses.fields(MeasureOptions))


@dataclass(frozen=True)
class RunSpec:
    """One training, fully resolved: dataset x model x N x shuffle, the recipe, and what is measured."""

    suite: str
    name: str
    dataset: str
    model: ModelSpec
    train_size: int
    shuffle: int
    recipe: str
    training: TrainingOptions
    measure: MeasureOptions
    half: Literal["a", "b"] = "a"  # which of two disjoint sets of N training images

    @property
    def partner(self) -> str:
        """Name of the half a that a half b is compared with."""
        return self.name.removesuffix("half-b").rstrip(".-")


def trained_spec(record: dict) -> RunSpec:
    """Return the run that ``run.json`` describes, without measurements: these are its suite's at any time."""
    return from_dict(RunSpec, record["spec"] | {"measure": {}})


def measured(
    run: RunSpec, asked: list[str] | None, datasets: Mapping[str, DatasetOptions], where: str | None
) -> RunSpec:
    """Return a run with the measurements that are asked for (None: all of its suite) and those that they need.

    What does not apply to the run is left out, and so is what cannot be measured if ``where`` is None; otherwise
    BenchError says why.
    """
    known = measurements()
    names = list(METRICS if asked is None else asked)
    names += [needed for name in names for needed in known[name].needs]
    chosen = {m: getattr(run.measure, m) for m in METRICS if m in names and known[m].applies(run)}
    for name in [m for m in chosen if chosen[m] is not None]:
        lacking = next((m for m in known[name].needs if chosen.get(m) is None), None)
        sentence = f"{name} needs {lacking}; add it under `measure`" if lacking else None
        if isinstance(steps := getattr(chosen[name], "steps", 0), int) and steps > run.training.timesteps:
            sentence = f"{name}.steps ({steps}) are more than training.timesteps ({run.training.timesteps})"
        if sentence := sentence or known[name].problem(chosen[name], run, datasets):
            if where is not None:
                raise BenchError(f"{where}: {sentence}.")
            chosen[name] = None
    return dataclasses.replace(run, measure=MeasureOptions(**chosen))

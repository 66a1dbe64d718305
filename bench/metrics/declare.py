"""How a measurement declares itself: options, rows, needs.  Torch-free, and so is every module of ``bench.metrics``.

Each file of this folder but this one is a measurement: it holds its options, its ``MEASUREMENT`` and a function
``measure(run, options)`` that returns a :class:`Result`.  Numerics that need torch are in ``bench.metrics.numerics``.
"""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from bench.support.errors import BenchError
from bench.support.options import STRICT, check, check_least, option

if TYPE_CHECKING:
    import numpy as np

    from bench.data.options import DatasetOptions
    from bench.suite.options import RunSpec


Arrays = dict[str, "np.ndarray"]


class Reference(NamedTuple):
    """What measurements need of a dataset, made once: ``wiener``, ``classifier`` or statistics ``SPACE.POOL.COUNT``."""

    dataset: str
    name: str

    @property
    def kind(self) -> str:
        """The module of ``bench.metrics.numerics`` that makes it."""
        return "statistics" if "." in self.name else self.name

    @property
    def classifier(self) -> Reference | None:
        """The classifier in whose features statistics are."""
        space = self.name.split(".")[0]
        known = space.startswith("classifier-")
        return Reference(space.removeprefix("classifier-"), "classifier") if known else None


@dataclass(frozen=True)
class NoiseLevels:
    """Options of what is measured on test images at some noise levels."""

    __pydantic_config__ = STRICT

    images: int = option(1, "test images", "assumed", least=1)
    step_indices: list[int] = option([7], "noise levels, as indices of the PSNR step grid", "assumed")
    steps: int = option(50, "respaced step indices of that grid", "paper", least=1)

    def __post_init__(self) -> None:
        check_least(self)
        check(
            all(0 <= i < self.steps for i in self.step_indices) and len(self.step_indices) > 0,
            f"step_indices must lie in 0..steps - 1 ({self.steps - 1}), not {self.step_indices}",
        )


class LeftOut(BenchError):
    """A measurement that this network does not allow: its reason is recorded, and the other measurements go on."""


class Margin(NamedTuple):
    """The difference up to which two values count as equal.

    ``absolute``: ``size`` in the metric's unit.  ``log-ratio``: |log(a / b)| <= log(1 + size); not judged where the
    baseline lies under ``floor``.
    """

    size: float
    scale: Literal["absolute", "log-ratio"] = "absolute"
    floor: float = 0.0


class Row(NamedTuple):
    """One metric of the tidy table: unit, which way is better ('' if neither), meaning, and margin if it is judged.

    ``name`` is the readers' name of a metric that is judged.
    """

    unit: str
    better: Literal["higher", "lower", ""]
    meaning: str
    margin: Margin | None = None
    name: str = ""


@dataclass(frozen=True)
class Measurement:
    """What is taken of a run: ``rows`` by metric, from ``options`` (None: of every run, without options).

    ``needs`` names the measurements whose results it reads and ``references``, by options and dataset, what it reads
    of datasets: ``measure`` is given each as a keyword, by name or kind.  ``network`` says whether it evaluates the
    network, whose code then counts; ``partner`` whether it opens the other half too.  ``passes`` returns the forward
    passes of one image that it amounts to, given options, run and pixels per image; None if that is unknown; ``macs`` the
    multiply-adds beside them, given options, run, image side and channels.
    ``problem`` returns a sentence if a run cannot be measured, known before anything is trained; ``applies`` is
    false for runs without it.
    """

    name: str
    options: type | None
    rows: Mapping[str, Row]
    needs: tuple[str, ...] = ()
    network: bool = True
    partner: bool = False
    references: Callable[[Any, str], list[Reference]] = lambda options, dataset: []
    passes: Callable[[Any, RunSpec, int], float | None] = lambda options, run, pixels: 0.0
    macs: Callable[[Any, RunSpec, int, int], float] = lambda options, run, side, channels: 0.0
    problem: Callable[[Any, RunSpec, Mapping[str, DatasetOptions]], str | None] = lambda *_: None
    applies: Callable[[RunSpec], bool] = lambda run: True

    @property
    def module(self) -> str:
        """The module that declares it and holds ``measure``."""
        return f"bench.metrics.{self.name}"


@functools.cache
def measurements() -> dict[str, Measurement]:
    """Return every measurement by name, each after those that it needs."""
    files = sorted(Path(__file__).parent.glob("*.py"))
    names = [file.stem for file in files if file.stem not in ("__init__", "declare")]
    known = {name: importlib.import_module(f"bench.metrics.{name}").MEASUREMENT for name in names}
    ordered: dict[str, Measurement] = {}

    def add(name: str) -> None:
        for needed in known[name].needs:
            add(needed)
        ordered.setdefault(name, known[name])

    for name in names:
        add(name)
    return ordered


@functools.cache
def metrics() -> dict[str, Row]:
    """Return every metric that a row of the tidy table can have."""
    return {metric: row for one in measurements().values() for metric, row in one.rows.items()}


@dataclass
class Result:
    """What a measurement found: rows for the tidy table, and arrays that are looked at or read again."""

    rows: list[dict] = field(default_factory=list)
    arrays: Arrays = field(default_factory=dict)

    def add(
        self,
        metric: str,
        value: float,
        split: str = "",
        index_name: str = "",
        index: int | None = None,
        protocol: str = "",
    ) -> None:
        """Append one number."""
        row = {"metric": metric, "value": float(value), "split": split}
        self.rows.append(row | {"index_name": index_name, "index": index, "protocol": protocol})


def lacks_images(key: str, count: int, run: RunSpec, datasets: Mapping[str, DatasetOptions]) -> str | None:
    """Return a sentence where the option ``key`` asks for more images than the test or validation pool is known to hold."""
    for pool in ("validation", "test") if key.startswith("psnr") else ("test",):
        size = getattr(datasets[run.dataset], pool)
        if 0 < size < count:
            return f"{key} is {count}, {run.dataset} has {size} {pool} images; lower it"
    return None

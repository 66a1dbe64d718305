"""What a suite will cost before it runs: jobs by rule, device-hours, disk. Torch-free.

Work is counted in multiply-adds (``bench check`` writes those of one forward pass into plan.json; a training step
is three passes).  Speed comes from stored rates of the device, first of the same network, else of others on it; where
there is none, from a stated share of a stated peak.  What neither gives is reported as unknown.
"""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from bench.metrics.declare import measurements
from bench.suite.options import RunSpec
from bench.suite.plan import Plan
from bench.support import paths
from bench.support.errors import BenchError
from bench.support.files import read_json

TRAINING_PASSES = 3  # forward, and twice its work backward
# Factors by which the time may be shorter or longer
SAME_NETWORK, OTHER_NETWORKS, STATED = 1.2, 2.0, 3.0
NO_DEVICE = {"check", "dataset", "subset", "tidy", "figure", "table"}  # seconds to minutes on a CPU
CHECKPOINT = (
    2 * 4 * 4
)  # bytes per parameter: two checkpoints of weights, average and two Adam moments, float32


@dataclass(frozen=True)
class Rate:
    """A stored training rate: images/s of a network of ``macs`` multiply-adds on a device, at a precision."""

    device: str
    model: str
    image: str
    precision: str
    macs: float
    images_per_second: float

    @property
    def macs_per_second(self) -> float:
        return self.images_per_second * TRAINING_PASSES * self.macs


class Hours(NamedTuple):
    """Device-hours (None: unknown), the factor by which they may be wrong, and where they come from."""

    hours: float | None
    factor: float
    basis: str


UNKNOWN = Hours(None, STATED, "unknown")


@dataclass
class Row:
    """One rule: ``hours`` and ``disk`` (bytes) are what is known; ``unknown`` counts jobs without hours."""

    jobs: int = 0
    hours: float = 0.0
    low: float = 0.0
    high: float = 0.0
    unknown: int = 0
    disk: float | None = None
    basis: Counter = field(default_factory=Counter)

    def add(self, parts: list[Hours]) -> None:
        """Count one job, made of parts."""
        self.jobs += 1
        self.unknown += any(part.hours is None for part in parts)
        self.basis[max(parts, key=lambda part: part.factor).basis] += 1
        for part in parts:
            self.hours += part.hours or 0
            self.low += (part.hours or 0) / part.factor
            self.high += (part.hours or 0) * part.factor


@dataclass(frozen=True)
class Machine:
    """What is assumed if no rate is stored: peaks in TFLOP/s by precision, and the share that is reached."""

    device: str | None
    peaks: dict[str, float]
    utilisation: float


def stored_rates() -> list[Rate]:
    """Return the training rates of ``results/*`` and ``results/baselines/*``; tables without a plan are skipped."""
    folders = [file.parent for file in sorted(paths.RESULTS.glob("**/plan.json"))]
    return [rate for folder in folders for rate in _rates(folder)]


def _rates(folder: Path) -> Iterator[Rate]:
    plan = read_json(folder / "plan.json")
    keys = ("dataset", "train_size", "shuffle", "recipe")
    precision = {
        (*(r[k] for k in keys), r["model"]["name"]): r["training"]["precision"] for r in plan["runs"]
    }
    files = sorted(folder.glob("tidy.csv*")) or sorted(folder.glob("runs/*/measurements.csv"))
    for file in files:
        table = pd.read_csv(
            file, keep_default_na=False, usecols=[*keys, "model", "metric", "value", "protocol"]
        )
        table = table[table["metric"].isin(("macs", "images_per_second"))]
        for key, part in table.groupby([*keys, "model"]):
            values = part.set_index("metric")
            if key not in precision or not {"macs", "images_per_second"} <= set(values.index):
                continue
            device = str(values.loc["images_per_second", "protocol"]).removeprefix("device=")
            dataset = plan["datasets"][key[0]]
            image = _image(dataset["resolution"], dataset["channels"])
            numbers = (float(values.loc[name, "value"]) for name in ("macs", "images_per_second"))
            yield Rate(device, key[-1], image, precision[key], *numbers)


def _image(resolution: int, channels: int) -> str:
    return f"{resolution}x{resolution}x{channels}"


def passes(rule: str, run: RunSpec, pixels: int) -> float | None:
    """Return the forward passes of one image that a job amounts to (a product with the Jacobian is three), or None."""
    if rule == "train":
        return run.training.steps * run.training.batch * TRAINING_PASSES
    return measurements()[rule].passes(getattr(run.measure, rule, None), run, pixels)


def work_beside(rule: str, run: RunSpec, side: int, channels: int) -> float:
    """Return the multiply-adds of a job that are not passes of the network."""
    if rule == "train":
        return 0.0
    return measurements()[rule].macs(getattr(run.measure, rule, None), run, side, channels)


class Forecast:
    """The forecast of one suite: ``rows`` by rule, in the order of the graph."""

    def __init__(self, suite: Plan, machine: Machine) -> None:
        self.suite, self.machine = suite, machine
        rates = stored_rates() if machine.device else []  # without a device no stored table is needed
        self.device = _choose(machine.device, rates)
        self.rates = [rate for rate in rates if rate.device == self.device]
        self.costs = _costs(suite)
        self.rows: dict[str, Row] = {}
        self._count()

    def _row(self, rule: str) -> Row:
        return self.rows.setdefault(rule, Row())

    def _count(self) -> None:
        suite = self.suite
        self._row("check").jobs = 1
        self._row("dataset").jobs, self._row("dataset").disk = len(suite.datasets), self._datasets()
        self._row("subset").jobs = len(suite.shuffles)
        references = set()
        for name, run in suite.runs.items():
            self._row("train").add([self._hours("train", run)])
            self._row("measure").add([self._hours(metric, run) for metric in suite.metrics(name)])
            self._disk(run)
            references |= {one for metric in suite.metrics(name) for one in suite.references(metric, name)}
        for _ in references | {one.classifier for one in references} - {None}:
            self._row("reference").add([UNKNOWN])
        self._row("tidy").jobs = 1
        for item in suite.items:
            self._row("figure" if item.startswith("fig") else "table").jobs += 1

    def _hours(self, rule: str, run: RunSpec) -> Hours:
        """Return the hours of a training, or of one measurement."""
        row = self.suite.datasets[run.dataset]
        image = _image(row.resolution, row.channels)
        cost = self.costs.get((run.model.name, image))
        count = passes(rule, run, row.resolution**2 * row.channels)
        if count is None or cost is None or not cost["macs"]:
            return UNKNOWN
        beside = work_beside(rule, run, row.resolution, row.channels)
        precision = run.training.precision if rule == "train" else "float32"
        speed, factor, basis = self._speed(run.model.name, image, precision)
        return Hours((count * cost["macs"] + beside) / speed / 3600, factor, basis)

    def _speed(self, model: str, image: str, precision: str) -> tuple[float, float, str]:
        """Return multiply-adds per second, factor of uncertainty, basis."""
        known = [rate for rate in self.rates if rate.precision == precision]
        own = [rate for rate in known if (rate.model, rate.image) == (model, image)]
        if found := own or known:
            speeds = [rate.macs_per_second for rate in found]
            middle = statistics.median(speeds)
            spread = max(max(speeds) / middle, middle / min(speeds), SAME_NETWORK if own else OTHER_NETWORKS)
            return middle, spread, "measured" if own else "measured on other networks"
        # a multiply-add is two operations
        return self.machine.peaks[precision] * 1e12 / 2 * self.machine.utilisation, STATED, "stated"

    def _datasets(self) -> float | None:
        rows = self.suite.datasets.values()
        counts = [(r.train + r.test if r.train and r.test else r.expected, r) for r in rows]
        if any(count is None for count, _ in counts):
            return None
        return sum(count * r.resolution**2 * r.channels for count, r in counts)

    def _disk(self, run: RunSpec) -> None:
        row = self.suite.datasets[run.dataset]
        cost = self.costs.get((run.model.name, _image(row.resolution, row.channels)))
        if cost is not None:
            weights = 4 * cost["parameters"] * (1 + 2 * len(run.training.kept))
            train = self._row("train")
            train.disk = (train.disk or 0) + CHECKPOINT * cost["parameters"] + weights
        if run.measure.samples is not None:  # in the state folder and among the results
            images, measure = 2 * run.measure.samples.count, self._row("measure")
            measure.disk = (measure.disk or 0) + images * row.resolution**2 * row.channels


def _choose(wanted: str | None, rates: list[Rate]) -> str | None:
    """Return the stored device that ``wanted`` is a part of; raises BenchError if it is none or several."""
    known = sorted({rate.device for rate in rates})
    if wanted is None:
        return None
    found = [name for name in known if wanted.lower() in name.lower()]
    if len(found) != 1:
        raise BenchError(
            f"--device {wanted!r} names {'several' if found else 'none'} of the devices with stored rates "
            f"({'; '.join(known) or 'there is none'}); name one, or leave it out and state --tflops and --utilisation."
        )
    return found[0]


def _costs(suite: Plan) -> dict[tuple[str, str], dict]:
    """Return parameters and multiply-adds by (model, image) as the last ``bench check`` of these presets wrote them."""
    file = paths.plan_file(suite.suite)
    if not file.exists():
        return {}
    written = read_json(file)
    now = suite.summary()["models"]
    return {
        (model, image): cost
        for model, by_image in written.get("costs", {}).items()
        if model in now and written["models"][model] == now[model]
        for image, cost in by_image.items()
    }

"""Sentences of papers that a number can refute (``config/papers/*/claims.yaml``), and what numbers say of them.

On the numbers that papers print a claim is decided cell by cell, without intervals; on a suite's by one pooled test over
(dataset, shuffle), corrected for the claims of its paper.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from typing import Any, Literal

import pandas as pd

from bench.metrics.declare import Margin
from bench.models.families import FAMILIES
from bench.report import literature
from bench.report.context import Context
from bench.report.items import ITEMS
from bench.report.sides import EQUAL, EXTREMES, Side, listed, prior_of_differences, sides
from bench.results.measures import Measure
from bench.results.statistics import (
    FAILS,
    HOLDS,
    NO_DIFFERENCE,
    TOO_FEW,
    Interval,
    balanced,
    judge_claims,
    paired_interval,
    replicates,
    stack,
)  # fmt: skip
from bench.results.tidy import METRICS
from bench.suite import config
from bench.support import paths
from bench.support.errors import BenchError, nearest
from bench.support.files import read_json
from bench.support.options import STRICT, check, option, required

# Metrics that no shuffle changes: one value is enough.
EXACT = ("parameters", "macs", "macs_without_attention")
# Known beside the metrics of the tidy table: printed by papers, or derived from rows.
MORE = (EQUAL, *literature.ELSEWHERE)
MIXED, NOT_RUN = "mixed", "not run"
VERDICTS = (HOLDS, FAILS, MIXED, NO_DIFFERENCE, TOO_FEW, NOT_RUN)
# What a side of a claim may name: columns of the tables, permuted pixels, a factor; what is not named is averaged over.
SIDE = ("metric", "split", "family", "label", "role", "train_size", "index", "permuted", "times")
# What tells the comparisons of a claim on one dataset apart
CELL = ["recipe", "label", "label_right", "train_size", "train_size_right", "protocol"]
# What a claim answers on the board (bench/report/board.py).
QUESTIONS = {
    "locality": "Does locality come from the architecture?",
    "memorization": "When does memorisation begin?",
    "agreement": "Do two networks agree?",
    "closed-form": "Does a closed form predict the network?",
}


@dataclass(frozen=True)
class Scope:
    """Which cells a claim is about."""

    __pydantic_config__ = STRICT

    datasets: list[str] | None = option(None, "datasets by their readers' name; null takes all")
    train_sizes: list[int] | Literal["few"] | None = option(
        None, "training sizes N; 0 is the whole dataset; few is all but a dataset's largest; null takes all"
    )
    protocol: str | list[str] | None = option(
        None, "text that the protocol of the rows contains; of a list, the first that has rows"
    )
    recipe: str | None = option(None, "recipe of the runs, '' the plain one; null takes all")
    printed: Literal["all", "own", "none"] = option(
        "all", "which printed numbers count: all, its own paper's, or none if the claim restates them"
    )
    any: bool = option(False, "the sentence says 'may' or 'some': one printed cell is enough")


@dataclass(frozen=True)
class Claim:
    """A sentence, in our own words, and the comparison that it states."""

    __pydantic_config__ = STRICT

    sentence: str = required("what the paper says, in our own words")
    source: str = required("where in the paper")
    version: Literal["v1", "neurips2025", "all"] = required("version of the paper that says it")
    left: Side = required("left side")
    relation: Literal["<", ">", "~"] = required("less, greater, about equal")
    right: Side | float = required("right side: numbers of the same cell, or one number")
    scope: Scope = option({}, "which cells")
    tolerance: float | str = option(
        0.0, "~: largest difference; < and >: smallest difference that counts; 'x%' of right"
    )
    ratio: bool = option(
        False,
        "compare the sides by their ratio, as steps that differ by factors; gaps and distances always are",
    )
    question: str = option("", f"what it answers on the board: {', '.join(QUESTIONS)}")
    item: str = option("", "figure or table that shows it, for the board's link")
    paper: str = option("", "folder of the paper; taken from where the claim is written")

    def __post_init__(self) -> None:
        check(len(self.sentence.split()) > 3, f"sentence must have four words or more, not {self.sentence!r}")
        known = [*dict.fromkeys([*METRICS, *MORE])]
        for name, side in (("left", self.left), ("right", self.right)):
            if not isinstance(side, dict):
                continue
            for key in side:
                check(key in SIDE, f"{name}: unknown key {key!r}{nearest(key, SIDE)}")
            check("metric" in side, f"{name}: the key 'metric' is missing")
            for kind, words in (("metric", known), ("split", literature.SPLITS), ("family", FAMILIES)):
                named = (listed(side[kind]) or [""]) if kind in side else []  # an empty list names nothing
                for word in named:
                    near = nearest(str(word), words)
                    check(word in words, f"{name}: there is no {kind} {word!r}{near}")
            for key, value in side.items():
                check(_is_of(key, value), f"{name}: {key} cannot be {value!r}")
        asked = not self.question or self.question in QUESTIONS
        check(asked, f"there is no question {self.question!r}{nearest(self.question, QUESTIONS)}")
        shown = self.item in ITEMS or not (self.item or self.question)
        check(
            shown,
            f"item: there is no {self.item!r}{nearest(self.item, ITEMS)}; a claim with a question names one",
        )
        check(self.left != self.right, "left and right are the same; name what differs")
        for name in ("right", "tolerance"):
            value = getattr(self, name)
            check(not isinstance(value, float) or math.isfinite(value), f"{name} must be finite, not {value}")
        if isinstance(self.tolerance, str):
            number = self.tolerance.removesuffix("%").removeprefix("-").replace(".", "", 1)
            valid = self.tolerance.endswith("%") and number.isdigit()
            check(valid, f"tolerance must be a number or 'x%', not {self.tolerance!r}")
        compared = isinstance(self.right, dict) and not self.tolerance
        check(compared or not self.ratio, "ratio compares two sides without a tolerance")

    def slack(self, right: float) -> float:
        """Return the tolerance in the unit of the values."""
        if isinstance(self.tolerance, str):
            return abs(right) * float(self.tolerance.removesuffix("%")) / 100
        return self.tolerance

    @property
    def factor(self) -> float:
        """The factor on the right side."""
        return self.right.get("times", 1.0) if isinstance(self.right, dict) else 1.0


@dataclass(frozen=True)
class Cell:
    """One comparison: where, the two means, the number of shuffles; ``word`` is the verdict of the means alone."""

    where: str
    left: float
    right: float
    shuffles: int
    word: str
    factor: float = 1.0

    def text(self) -> str:
        """Return the comparison in words."""
        factor = "" if self.factor == 1 else f"{self.factor:.4g} × "
        return f"{self.where}: {short(self.left)} against {factor}{short(self.right / self.factor)}"


@dataclass(frozen=True)
class Verdict:
    """What numbers say of a claim: one of ``VERDICTS``, the cells, and the pooled difference where it was tested.

    ``ratio`` is the metric, where the difference is one of logarithms; ``unit`` that of any other.
    """

    word: str
    cells: list[Cell]
    pooled: Interval | None = None
    ratio: Measure | None = None
    unit: str = ""

    @property
    def pairs(self) -> int:
        """Dataset-shuffle pairs behind the pooled difference, 0 where none was tested."""
        return self.pooled.count if self.pooled else 0

    def shown(self, difference: float) -> str:
        """Return a pooled difference as text, one of logarithms in percent."""
        plain = f"{'+' if difference > 0 else ''}{short(difference, 3)} {self.unit}".rstrip()
        return self.ratio.text(difference) if self.ratio else plain.replace("-", "−")

    def interval(self) -> str:
        """Return the pooled difference with its interval, if there are two replicates or more."""
        assert self.pooled is not None
        low, high = self.shown(self.pooled.low), self.shown(self.pooled.high)
        return self.shown(self.pooled.mean) + (f" [{low}, {high}]" if self.pooled.count > 1 else "")

    def difference(self) -> str:
        """Return the pooled difference in words."""
        return f"{self.interval()} over {self.pairs} dataset-shuffle pair{'s' * (self.pairs > 1)}"

    def summary(self) -> str:
        """Return the word, with the share of its cells if that is not all."""
        count = sum(cell.word == self.word for cell in self.cells)
        partly = self.pooled is None and 0 < count < len(self.cells)
        return f"{self.word} ({count} of {len(self.cells)})" if partly else self.word

    def text(self, most: int = 4) -> str:
        """Return the pooled difference, or the cells in words; those that hold are named only where all do."""
        counts, parts = Counter(cell.word for cell in self.cells), []
        if self.pooled is not None:
            what = "left against right" if self.ratio else "left minus right"
            return f"{what} {self.difference()}; {counts[HOLDS]} of {len(self.cells)} cells as claimed"
        for word in (HOLDS, FAILS):
            texts = [cell.text() for cell in self.cells if cell.word == word]
            named = texts[: 0 if word == HOLDS and len(counts) > 1 else most]
            more = f"; and {len(texts) - most} more" if named and len(texts) > most else ""
            if texts:
                parts.append(f"{len(texts)} {word}" + (f" ({'; '.join(named)}{more})" if named else ""))
        return ", ".join(parts)


def _is_of(key: str, value: Any) -> bool:
    """Whether a value can stand under a key of a claim's side; a list where any of its values may."""
    if key == "permuted":
        return isinstance(value, bool)
    if key == "times":
        return type(value) in (int, float) and 0 < value < math.inf
    if key in ("train_size", "index") and isinstance(value, str):
        return value in EXTREMES
    kind = int if key in ("train_size", "index") else str
    return all(type(one) is kind for one in listed(value))


def short(value: float, digits: int = 4) -> str:
    """Return a number with so many significant digits, in millions or billions where it is large."""
    for unit, word in ((1e9, " G"), (1e6, " M")):
        if abs(value) >= unit:
            return f"{value / unit:.{digits}g}{word}"
    return f"{value:,.0f}" if abs(value) >= 10**digits else f"{value:.{digits}g}"


def load() -> dict[str, Claim]:
    """Return the claims of all papers by id; raises BenchError that names file, claim and key."""
    found: dict[str, Claim] = {}
    places: dict[str, Claim] = {}
    for folder in literature.folders():
        path = folder / "claims.yaml"
        for key, value in (config.read_yaml(path) if path.exists() else {}).items():
            if key in found:
                raise BenchError(
                    f"{path}: {key}: a claim of {found[key].paper} has this name; choose another."
                )
            where = f"{path}: {key}"
            found[str(key)] = places[where] = read_claim(value, folder.name, where)
    check_names(places)
    return found


def check_names(claims: dict[str, Claim]) -> None:
    """Raise BenchError for a dataset, label or role of a claim that no preset, print or measured suite has.

    The message begins with the claim's key in ``claims``.
    """
    known = _names() if claims else {}
    for where, claim in claims.items():
        named = [("scope", "dataset", name) for name in claim.scope.datasets or []]
        for place, side in (("left", claim.left), ("right", claim.right)):
            if isinstance(side, dict):
                named += [
                    (place, key, name) for key in ("label", "role") for name in listed(side.get(key, []))
                ]
        for place, key, name in named:
            if name not in known[key] and not (key == "label" and name in _measured_labels()):
                raise BenchError(f"{where}: {place}: there is no {key} {name!r}{nearest(name, known[key])}.")


def _names() -> dict[str, set[str]]:
    """Return the readers' names that rows can have."""
    presets, printed = config.load_models().values(), literature.numbers()
    own = {
        "dataset": [row.title or name for name, row in config.load_datasets().items()],
        "label": [str(preset.label) for preset in presets],
        "role": ["", *(preset.role or preset.variant or "" for preset in presets)],
    }
    return {key: {*names, *printed[key]} for key, names in own.items()}


def _measured_labels() -> set[str]:
    """Return the labels of measured suites: an adopted network, or a file of one's own, has no preset."""
    plans = [paths.stored_folder(suite) / "plan.json" for suite in paths.measured_suites()]
    return {model["label"] for plan in plans for model in read_json(plan)["models"].values()}


def read_claim(value: object, paper: str, where: str) -> Claim:
    """Return a claim of a paper from its YAML value; raises BenchError, which begins with ``where``."""
    return config.validate(
        Claim, {"scope": {}, **value, "paper": paper} if isinstance(value, dict) else value, where
    )


def measured(context: Context) -> pd.DataFrame:
    """Return a suite's tidy table with readers' names, in the shape of the printed numbers (``literature.COLUMNS``)."""
    table, models = context.table, context.plan["models"]
    names = table["model"]
    by_model = {
        "label": {m: info["label"] for m, info in models.items()},
        "family": {m: info["family"] for m, info in models.items()},
        "role": {m: context.role(m) for m in models},
        "root": {m: info["baseline"] or m for m, info in models.items()},
    }
    table = table.assign(paper="", version="", **{key: names.map(known) for key, known in by_model.items()})
    titles = {name: info["title"] for name, info in context.plan["datasets"].items()}
    return table.assign(label=table["label"].fillna(names), dataset=table["dataset"].map(titles))[
        literature.COLUMNS
    ]


def in_print(claim: Claim, table: pd.DataFrame) -> Verdict:
    """Return what printed numbers say of a claim; each cell is decided, but cells may disagree."""
    cells = _cells(claim, sides(claim, table))
    found = {cell.word for cell in cells}
    word = next(iter(found)) if len(found) == 1 else HOLDS if claim.scope.any and HOLDS in found else MIXED
    return Verdict(word if cells else NOT_RUN, cells)


def in_measurements(claims: dict[str, Claim], table: pd.DataFrame) -> dict[str, Verdict]:
    """Return what a suite says of each claim, one pooled test each, corrected for the claims of one paper (Holm)."""
    both = {key: sides(claim, table) for key, claim in claims.items()}
    found = {key: Verdict(NOT_RUN, []) for key in claims}
    for paper in dict.fromkeys(claim.paper for claim in claims.values()):
        own = [key for key, claim in claims.items() if claim.paper == paper and len(both[key])]
        tested = [key for key in own if not {*listed(claims[key].left["metric"])} <= {*EXACT}]
        shared = {key: balanced(both[key], CELL) for key in tested}
        pooled = [_pooled(claims[key], shared[key], table) for key in tested]
        rights = [replicates(one.assign(value=one["right"])).mean() for one in shared.values()]
        slack = [claims[key].slack(right) for key, right in zip(tested, rights)]
        relations = [claims[key].relation for key in tested]
        words = judge_claims(stack(pooled), relations, slack) if tested else []
        for key, word, interval in zip(tested, words, pooled):
            row = METRICS.get(listed(claims[key].left["metric"])[0])
            cells, unit = _cells(claims[key], both[key]), row.unit if row else ""
            found[key] = Verdict(str(word), cells, interval, _ratio(claims[key]), unit)
        for key in set(own) - set(tested):
            found[key] = in_print(claims[key], table)
    return found


def _ratio(claim: Claim) -> Measure | None:
    """Return the metric of a claim whose sides are compared by their ratio: as it says, or as the metric's margin does.

    A tolerance has a unit, so it is compared by differences.
    """
    metric = "psnr_gap_mean" if claim.left["metric"] == EQUAL else listed(claim.left["metric"])[0]
    if claim.ratio and metric in METRICS:  # others are printed only, so no suite has them
        return Measure(metric, "", "", "", METRICS[metric]._replace(margin=Margin(0.0, "log-ratio")))
    same = isinstance(claim.right, dict) and claim.right["metric"] == claim.left["metric"]
    if not same or claim.tolerance or metric not in METRICS or METRICS[metric].margin is None:
        return None
    measure = Measure(metric, "", "", "", METRICS[metric])
    return measure if measure.is_ratio else None


def _pooled(claim: Claim, both: pd.DataFrame, table: pd.DataFrame) -> Interval:
    """Return the moderated interval of left minus right, of logarithms where the sides are compared by their ratio."""
    measure = _ratio(claim)
    scale = measure.scale if measure else lambda values: values
    differences = both.assign(value=scale(both["left"]) - scale(both["right"]))
    return paired_interval(replicates(differences), prior_of_differences(claim, both, table, scale))


def _cells(claim: Claim, both: pd.DataFrame) -> list[Cell]:
    keys, cells = ["paper", "dataset", *CELL], []
    for key, group in both.groupby(keys, sort=False):
        left, right = float(group["left"].mean()), float(group["right"].mean())
        word = HOLDS if _as_claimed(claim, left - right, claim.slack(right)) else FAILS
        cells.append(Cell(_words(dict(zip(keys, key))), left, right, len(group), word, claim.factor))
    return cells


def _as_claimed(claim: Claim, difference: float, slack: float) -> bool:
    """Whether a difference left - right satisfies the relation."""
    if claim.relation == "~":
        return abs(difference) <= slack
    return (difference if claim.relation == "<" else -difference) < -slack


def _words(where: dict[str, Any]) -> str:
    """Return a cell in words: dataset, models, N, recipe."""
    labels = dict.fromkeys([where["label"], where["label_right"]])
    sizes = dict.fromkeys(n for n in (where["train_size"], where["train_size_right"]) if n)
    parts = [where["dataset"], " against ".join(labels)]
    parts += [f"N = {' against '.join(f'{n:,}' for n in sizes)}"] if sizes else []
    return ", ".join([*parts, *filter(None, (where["recipe"], where["protocol"].replace(";", ", ")))])

"""Sentences of papers that a number can refute (``config/papers/*/claims.yaml``), and what numbers say of them."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd

from bench.report import literature
from bench.results.statistics import NO_DIFFERENCE, TOO_FEW, paired_interval
from bench.results.tidy import METRICS
from bench.suite import config
from bench.support.errors import BenchError, nearest
from bench.support.options import STRICT, check, option, required

# Metrics that no shuffle changes: one value is enough.
EXACT = ("parameters", "macs", "macs_without_attention")
# Known beside the metrics of the tidy table: printed by papers, or derived from rows.
MORE = ("sfid", "inception_score", "precision", "recall", "psnr_slope", "psnr_slope_optimal")
_PERMUTED = ", permuted"
VERDICTS = ("holds", "fails", "mixed", NO_DIFFERENCE, TOO_FEW, "not run")


@dataclass(frozen=True)
class Quantity:
    """One side of a claim: which numbers, averaged over what is not named."""

    __pydantic_config__ = STRICT

    metric: str | list[str] = required("metric of the tidy table; of a list, the first that has rows")
    split: str | None = option(None, "train, test or train-test")
    family: list[str] | None = option(None, "model families")
    label: list[str] | None = option(None, "models by their readers' name")
    role: str | None = option(None, "what the preset is there for; '' is a baseline itself")
    train_size: int | Literal["smallest", "largest"] | None = option(None, "N, where the sides differ in it")
    index: int | Literal["first", "last"] | None = option(None, "step, k or layer; null averages over them")
    permuted: bool = option(False, "datasets with permuted pixels in place of their originals")
    times: float = option(1.0, "factor on the value")

    @property
    def metrics(self) -> list[str]:
        """The metrics, as a list."""
        return [self.metric] if isinstance(self.metric, str) else self.metric

    def __post_init__(self) -> None:
        known = list(dict.fromkeys([*METRICS, *MORE]))
        for metric in self.metrics:
            check(metric in known, f"there is no metric {metric!r}{nearest(metric, known)}")


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
    printed: Literal["all", "own", "none"] = option(
        "all", "whose printed numbers count: its own paper's; none where these would meet themselves"
    )
    any: bool = option(False, "the sentence says 'may' or 'some': one cell is enough")


@dataclass(frozen=True)
class Claim:
    """A sentence, in our own words, and the comparison that it states."""

    __pydantic_config__ = STRICT

    sentence: str = required("what the paper says, in our own words")
    source: str = required("where in the paper")
    version: Literal["v1", "neurips2025", "all"] = required("version of the paper that says it")
    left: Quantity = required("left side")
    relation: Literal["<", ">", "~"] = required("less, greater, about equal")
    right: Quantity | float = required("right side: numbers of the same cell, or one number")
    scope: Scope = option({}, "which cells")
    tolerance: float | str = option(
        0.0, "~: largest difference; < and >: smallest difference that counts; 'x%' of right"
    )
    paper: str = option("", "folder of the paper; taken from where the claim is written")

    def __post_init__(self) -> None:
        check(len(self.sentence.split()) > 3, "sentence must be a sentence")
        if isinstance(self.tolerance, str):
            check(self.tolerance.endswith("%"), f"tolerance must be a number or 'x%', not {self.tolerance!r}")
            check(_is_number(self.tolerance[:-1]), f"tolerance is not a number: {self.tolerance!r}")

    def slack(self, right: float) -> float:
        """Return the tolerance in the unit of the values."""
        if isinstance(self.tolerance, str):
            return abs(right) * float(self.tolerance[:-1]) / 100
        return self.tolerance


@dataclass(frozen=True)
class Cell:
    """One comparison: where, the two means, the number of shuffles, what it says, and the factor in ``right``."""

    where: str
    left: float
    right: float
    shuffles: int
    verdict: str
    factor: float = 1.0

    def text(self) -> str:
        """Return the comparison in words."""
        factor = "" if self.factor == 1 else f"{self.factor:.4g} × "
        return f"{self.where}: {short(self.left)} against {factor}{short(self.right / self.factor)}"


@dataclass(frozen=True)
class Verdict:
    """What numbers say of a claim: one of ``VERDICTS``, and the cells behind it."""

    word: str
    cells: list[Cell]

    def summary(self) -> str:
        """Return the word, with the share of its cells where it is not that of all."""
        count = sum(cell.verdict == self.word for cell in self.cells)
        return f"{self.word} ({count} of {len(self.cells)})" if 0 < count < len(self.cells) else self.word

    def text(self, most: int = 4) -> str:
        """Return the counts and the cells in words; those that hold are named only where all do."""
        counts = Counter(cell.verdict for cell in self.cells)
        parts = []
        for word in VERDICTS:
            found = [cell.text() for cell in self.cells if cell.verdict == word]
            named = found[: 0 if word == "holds" and len(counts) > 1 else most]
            more = f"; and {len(found) - most} more" if named and len(found) > most else ""
            if found:
                parts.append(f"{len(found)} {word}" + (f" ({'; '.join(named)}{more})" if named else ""))
        return ", ".join(parts)


def short(value: float) -> str:
    """Return a number with four digits, in millions or billions where it is large."""
    for unit, word in ((1e9, " G"), (1e6, " M")):
        if abs(value) >= unit:
            return f"{value / unit:.4g}{word}"
    return f"{value:,.0f}" if abs(value) >= 1e4 else f"{value:.4g}"


def load() -> dict[str, Claim]:
    """Return the claims of all papers by id; raises BenchError that names file, claim and key."""
    found: dict[str, Claim] = {}
    for folder in literature.folders():
        path = folder / "claims.yaml"
        for key, value in (config.read_yaml(path) if path.exists() else {}).items():
            if key in found:
                raise BenchError(
                    f"{path}: {key}: a claim of {found[key].paper} has this name; choose another."
                )
            found[str(key)] = _claim(value, folder.name, f"{path}: {key}")
    return found


def _claim(value: object, paper: str, where: str) -> Claim:
    if isinstance(value, dict):
        for part, kind in (("left", Quantity), ("right", Quantity), ("scope", Scope)):
            if isinstance(value.get(part), dict):
                config.validate(kind, value[part], f"{where}: {part}")
        value = {"scope": {}, **value, "paper": paper}
    claim = config.validate(Claim, value, where)
    if claim.left == claim.right:
        raise BenchError(f"{where}: left and right are the same; name what differs.")
    return claim


def judge(claim: Claim, table: pd.DataFrame, repeated: bool) -> Verdict:
    """Return what a table says of a claim.

    ``table`` has the columns of :data:`bench.report.literature.COLUMNS`; ``repeated``: its rows are measurements, so
    that a cell needs two shuffles or more and is decided by the paired interval over them; else they are printed.
    """
    table, protocol = _scoped(claim, table)
    pairs = _pairs(claim, table)
    named = f", {protocol.replace(';', ', ')}" if protocol and repeated else ""
    cells = [_cell(claim, where + named, left, right, repeated) for where, left, right in pairs]
    return Verdict(_overall([cell.verdict for cell in cells], claim.scope.any), cells)


def _scoped(claim: Claim, table: pd.DataFrame) -> tuple[pd.DataFrame, str]:
    """Return the rows that a claim is about, and the text of the protocol that was taken."""
    scope, keep = claim.scope, pd.Series(True, table.index)
    if scope.datasets is not None:
        keep &= table["dataset"].isin(scope.datasets)
    if scope.printed != "all":  # a measured suite is no paper
        keep &= table["paper"].isin(["", claim.paper] if scope.printed == "own" else [""])
    if scope.train_sizes == "few":
        keep &= table["train_size"] < table.groupby(["paper", "dataset"])["train_size"].transform("max")
    elif scope.train_sizes is not None:
        keep &= table["train_size"].isin(scope.train_sizes)
    if claim.version != "all":
        keep &= table["version"].isin(["", claim.version])
    return _of_protocol(claim, table[keep])


def _of_protocol(claim: Claim, table: pd.DataFrame) -> tuple[pd.DataFrame, str]:
    texts = [claim.scope.protocol] if isinstance(claim.scope.protocol, str) else claim.scope.protocol or []
    for text in texts:
        found = table[table["protocol"].str.contains(text, regex=False)]
        if found["metric"].isin(claim.left.metrics).any():
            return found, text
    return (table[table["protocol"] == ""] if texts else table), ""  # printed numbers say no protocol


def _select(side: Quantity, table: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of one side, averaged over what is not named: one per cell, model and shuffle."""
    found = table.iloc[:0]
    for metric in side.metrics:
        found = table[table["metric"] == metric]
        if len(found):
            break
    for names, column in ((side.family, "family"), (side.label, "label")):
        if names is not None:
            found = found[found[column].isin(names)]
    if side.split is not None:
        found = found[found["split"] == side.split]
    if side.role is not None:
        found = found[found["role"] == side.role]
    # an image with permuted pixels is evidence of permutation alone
    found = found[found["dataset"].str.endswith(_PERMUTED) == side.permuted]
    found = found.assign(dataset=found["dataset"].str.removesuffix(_PERMUTED))
    found = _at_size(side, _at_index(side, found))
    keys = ["paper", "dataset", "label", "root", "train_size", "recipe", "shuffle"]
    return (
        found.groupby(keys, as_index=False, sort=False)["value"].mean().assign(metric=found["metric"].max())
    )


def _at_index(side: Quantity, found: pd.DataFrame) -> pd.DataFrame:
    if side.index is None or not len(found):
        return found
    if isinstance(side.index, int):
        return found[found["index"] == side.index]
    group = found.groupby(["dataset", "label", "train_size"])["index"]
    return found[found["index"] == group.transform("min" if side.index == "first" else "max")]


def _at_size(side: Quantity, found: pd.DataFrame) -> pd.DataFrame:
    if side.train_size is None or not len(found):
        return found
    if isinstance(side.train_size, int):
        return found[found["train_size"] == side.train_size]
    group = found.groupby(["paper", "dataset", "label", "recipe"])["train_size"]
    extreme = group.transform("min" if side.train_size == "smallest" else "max")
    return found[(found["train_size"] == extreme) & (group.transform("nunique") > 1)]


def _pairs(claim: Claim, table: pd.DataFrame) -> list[tuple[str, np.ndarray, np.ndarray]]:
    """Return (cell in words, left values, right values) with one value per shuffle that both sides have."""
    left = _select(claim.left, table)
    keys = ["paper", "dataset", "label", "train_size", "recipe"]
    if not isinstance(claim.right, Quantity):
        groups = left.groupby(keys, sort=False)["value"]
        return [
            (_words(dict(zip(keys, key))), v.to_numpy() * claim.left.times, np.full(len(v), claim.right))
            for key, v in groups
        ]
    right = _select(claim.right, table)
    shared = ["paper", "dataset", "recipe", "shuffle"]
    if claim.left.train_size is None and claim.right.train_size is None:
        shared.append("train_size")
    families = all(getattr(claim.left, k) == getattr(claim.right, k) for k in ("family", "label"))
    by_root = families and claim.left.role is not None and claim.right.role is not None
    same_models = all(getattr(claim.left, k) == getattr(claim.right, k) for k in ("family", "label", "role"))
    if by_root or same_models:
        shared += ["root"] if by_root and not same_models else ["label", "root"]
    both = left.merge(right, on=shared, suffixes=("_left", "_right"))
    if "label" in shared:
        both = both.assign(label_left=both["label"], label_right=both["label"])
    if "train_size" in both:
        both = both.assign(train_size_left=both["train_size"], train_size_right=both["train_size"])
    keys = ["paper", "dataset", "recipe", "label_left", "label_right", "train_size_left", "train_size_right"]
    return [
        (
            _words(dict(zip(keys, key))),
            group["value_left"].to_numpy() * claim.left.times,
            group["value_right"].to_numpy() * claim.right.times,
        )
        for key, group in both.groupby(keys, sort=False)
    ]


def _words(where: dict) -> str:
    """Return a cell in words: dataset, models, N, recipe."""
    labels = list(dict.fromkeys(where[k] for k in ("label", "label_left", "label_right") if k in where))
    sizes = list(
        dict.fromkeys(where[k] for k in ("train_size", "train_size_left", "train_size_right") if where.get(k))
    )
    parts = [where["dataset"], " against ".join(labels)]
    parts += [f"N = {' against '.join(f'{n:,}' for n in sizes)}"] if sizes else []
    return ", ".join([*parts, *([where["recipe"]] if where["recipe"] else [])])


def _cell(claim: Claim, where: str, left: np.ndarray, right: np.ndarray, repeated: bool) -> Cell:
    means = float(left.mean()), float(right.mean())
    slack = claim.slack(means[1])
    factor = claim.right.times if isinstance(claim.right, Quantity) else 1.0
    if not repeated or set(claim.left.metrics) <= set(EXACT):
        low = high = means[0] - means[1]
    elif len(left) < 2:
        return Cell(where, *means, len(left), TOO_FEW, factor)
    else:
        interval = paired_interval(left - right)
        low, high = interval.low, interval.high
    return Cell(where, *means, len(left), _decide(claim.relation, low, high, slack), factor)


def _decide(relation: str, low: float, high: float, slack: float) -> str:
    """Return holds, fails or "no difference shown" of a difference left - right known to lie in [low, high]."""
    if relation == ">":
        low, high = -high, -low
    if relation == "~":
        if max(abs(low), abs(high)) <= slack:
            return "holds"
        return "fails" if low > slack or high < -slack else NO_DIFFERENCE
    if high < -slack:
        return "holds"
    return "fails" if low >= -slack else NO_DIFFERENCE


def _overall(words: list[str], one_is_enough: bool) -> str:
    """Return one word for all cells: undecided ones take nothing from those that are decided."""
    if not words:
        return "not run"
    known = set(words)
    if one_is_enough and "holds" in known:
        return "holds"
    if {"holds", "fails"} <= known:
        return "mixed"
    if one_is_enough and len(known) > 1:
        known -= {"fails"}  # an undecided cell may be the one
    return next(word for word in VERDICTS if word in known)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True

"""The papers of ``config/papers``: what each is, the numbers that it prints, and its claims' file.

A paper is one folder: ``about.yaml``, ``published.csv``, ``claims.yaml``, ``deviations.md`` and its ``suites/``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from bench.metrics.agreement import ALL as MACHINES
from bench.models.families import FAMILIES
from bench.results.tidy import METRICS
from bench.suite import config
from bench.support.errors import BenchError, nearest
from bench.support.options import STRICT, required

# Metrics that papers print and nothing here measures
ELSEWHERE = ("sfid", "inception_score", "precision", "recall", "sscd_cosine")
# Of rows: pools of images, train minus test, machines that a network is compared with
SPLITS = ("", "train", "validation", "test", "train-test", *MACHINES)
VERSIONS, TAGS = ("v1", "neurips2025"), ("V", "D", "R", "S")  # tags: docs/extend.md
# The shape of printed and of measured numbers, so that a claim reads both in the same way.
COLUMNS = [
    "paper", "dataset", "label", "family", "role", "root", "train_size", "recipe", "shuffle", "split", "metric",
    "index_name", "index", "value", "protocol", "version",
]  # fmt: skip
# Columns of a paper's published.csv: one printed number a row.
PRINTED = [
    "table", "model", "family", "baseline", "role", "dataset", "train_size", "recipe", "split", "metric", "index_name",
    "index", "value", "unit", "version", "tag",
]  # fmt: skip


@dataclass(frozen=True)
class Paper:
    """What ``about.yaml`` says of a paper."""

    __pydantic_config__ = STRICT

    cite: str = required("authors and year, as captions name it")
    title: str = required("title")
    link: str = required("address of the text")
    note: str = required("where the printed numbers come from and what they describe")


def folders() -> list[Path]:
    """Return the folders of the papers, by key."""
    return sorted(path.parent for path in config.folder().glob("papers/*/about.yaml"))


def papers() -> dict[str, Paper]:
    """Return the papers by key; raises BenchError that names file and key."""
    files = [folder / "about.yaml" for folder in folders()]
    return {path.parent.name: config.validate(Paper, config.read_yaml(path), str(path)) for path in files}


def printed(paper: str) -> pd.DataFrame:
    """Return the rows of a paper's ``published.csv``, ``PRINTED``; none if it has no such file."""
    path = file_of(paper)
    if not path.exists():
        return pd.DataFrame(columns=PRINTED)
    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False)
    except (OSError, ValueError) as error:
        raise BenchError(f"{path} cannot be read ({error}); restore it with `git checkout`.") from error
    if missing := [column for column in PRINTED if column not in table.columns]:
        raise BenchError(f"{path} lacks the column {missing[0]!r}; its columns are {', '.join(PRINTED)}.")
    size, index, value = (
        _numbers(table[column], f"{path}: {column}") for column in ("train_size", "index", "value")
    )
    if value.isna().any():
        raise BenchError(f"{path} has a row without a value; every row is one printed number.")
    _check(table, path)
    # a train size of 0 is the whole dataset
    return table.assign(
        train_size=size.fillna(0).astype(int), index=index.astype("Int64"), value=value.astype(float)
    )


def _check(table: pd.DataFrame, path: Path) -> None:
    """Raise BenchError that names the line of a word that no row can have, and of two values of one number."""
    known = {
        "metric": (*METRICS, *ELSEWHERE),
        "split": SPLITS,
        "family": ("", *FAMILIES),
        "version": ("", *VERSIONS),
        "tag": TAGS,
    }
    for column, words in known.items():
        for line, word in enumerate(table[column], start=2):
            if word not in words:
                raise BenchError(f"{path}: line {line}: there is no {column} {word!r}{nearest(word, words)}.")
    units = table["metric"].map({name: row.unit for name, row in METRICS.items()})
    for line, (unit, own) in enumerate(zip(table["unit"], units), start=2):
        if isinstance(own, str) and unit != own:
            raise BenchError(f"{path}: line {line}: the unit is {own!r}, not {unit!r}.")
    for line, size in enumerate(table["train_size"], start=2):
        if size.startswith("-"):
            raise BenchError(
                f"{path}: line {line}: train_size cannot be {size}; leave it empty for all images."
            )
    place = [column for column in PRINTED if column not in ("value", "tag")]
    for _, twice in table[table.groupby(place)["value"].transform("nunique") > 1].groupby(place):
        named = " and ".join(str(line + 2) for line in twice.index)
        raise BenchError(f"{path}: lines {named} give one number two values; keep the one that is printed.")


def _numbers(column: pd.Series, where: str) -> pd.Series:
    """Return a column of texts as numbers, NaN where it is empty; raises BenchError that begins with ``where``."""
    found = pd.to_numeric(column, errors="coerce")
    wrong = column[(found.isna() & (column != "")) | found.isin([math.inf, -math.inf])]
    if len(wrong):
        raise BenchError(f"{where}: {wrong.iloc[0]!r} in line {wrong.index[0] + 2} is not a number.")
    whole = not where.endswith("value")
    if whole and (broken := column[(found % 1).fillna(0) != 0]).size:
        raise BenchError(f"{where}: {broken.iloc[0]!r} in line {broken.index[0] + 2} is not a whole number.")
    return found


def file_of(paper: str) -> Path:
    """Return the file of a paper's printed numbers."""
    return config.folder() / "papers" / paper / "published.csv"


def numbers() -> pd.DataFrame:
    """Return every printed number, ``COLUMNS``; of one that two tables of a paper print, the first."""
    tables = [printed(folder.name).assign(paper=folder.name) for folder in folders()]
    table = pd.concat(tables, ignore_index=True) if tables else pd.DataFrame(columns=["paper", *PRINTED])
    table = table.assign(
        label=table["model"],
        root=table["baseline"].where(table["baseline"] != "", table["model"]),
        shuffle=0,
        protocol="",
    )
    return table[COLUMNS].drop_duplicates([c for c in COLUMNS if c != "value"], ignore_index=True)

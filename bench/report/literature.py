"""The papers of ``config/papers``: what each is, the numbers that it prints, and its claims' file.

A paper is one folder: ``about.yaml``, ``published.csv``, ``claims.yaml``, ``deviations.md`` and its ``suites/``.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from bench.suite import config
from bench.support.errors import BenchError
from bench.support.options import STRICT, required

# The shape of printed and of measured numbers, so that a claim reads both alike.
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
    note: str = required("where the printed numbers come from and what they are of")


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
        table = pd.read_csv(path, keep_default_na=False, na_values={"value": [""]})
        table = table.astype({"index": str, "train_size": str, "value": float})
    except (OSError, ValueError) as error:
        raise BenchError(f"{path} cannot be read ({error}); restore it with `git checkout`.") from error
    if missing := [column for column in PRINTED if column not in table.columns]:
        raise BenchError(f"{path} lacks the column {missing[0]!r}; its columns are {', '.join(PRINTED)}.")
    if table["value"].isna().any():
        raise BenchError(f"{path} has a row without a value; every row is one printed number.")
    return table.assign(
        train_size=pd.to_numeric(table["train_size"]).fillna(0).astype(int),  # 0 is the whole dataset
        index=pd.to_numeric(table["index"]).astype("Int64"),
    )


def file_of(paper: str) -> Path:
    """Return the file of a paper's printed numbers."""
    return config.folder() / "papers" / paper / "published.csv"


def numbers() -> pd.DataFrame:
    """Return every printed number, ``COLUMNS``; of a number that is printed twice, the first."""
    tables = [printed(folder.name).assign(paper=folder.name) for folder in folders()]
    table = pd.concat(tables, ignore_index=True) if tables else pd.DataFrame(columns=["paper", *PRINTED])
    table = table.assign(
        label=table["model"],
        root=table["baseline"].where(table["baseline"] != "", table["model"]),
        shuffle=0,
        protocol="",
    )
    return table[COLUMNS].drop_duplicates([c for c in COLUMNS if c != "value"], ignore_index=True)

"""The tidy table: one row per number, the only thing that figures and tables are made of. Torch-free."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pandas as pd

from bench.metrics.declare import metrics
from bench.support.errors import BenchError, nearest
from bench.support.files import write_text

IDENTITY = ["suite", "dataset", "model", "train_size", "shuffle", "recipe"]
COLUMNS = [
    *IDENTITY,
    "split",
    "metric",
    "index_name",
    "index",
    "value",
    "unit",
    "protocol",
    "code",
    "data_hash",
]
KEY = [*IDENTITY, "split", "metric", "index_name", "index", "protocol"]

METRICS = metrics()  # by name: unit, which way is better, meaning


def check(table: pd.DataFrame, where: str | Path) -> pd.DataFrame:
    """Return the table if it is sound; raises BenchError that names the column, metric or row that is not."""
    if missing := [c for c in COLUMNS if c not in table.columns]:
        raise BenchError(
            f"{where} lacks the column {missing[0]!r}; make it again with `bench tidy --suite SUITE`."
        )
    if unknown := [m for m in table["metric"].unique() if m not in METRICS]:
        raise BenchError(f"{where} has the unknown metric {unknown[0]!r}{nearest(str(unknown[0]), METRICS)}.")
    if table["value"].isna().any():
        row = table[table["value"].isna()].iloc[0]
        raise BenchError(
            f"{where}: {row['metric']} of {row['dataset']}, {row['model']} has no value (NaN); measure it again."
        )
    if table.duplicated(KEY).any():
        row = table[table.duplicated(KEY)].iloc[0]
        raise BenchError(
            f"{where}: {row['metric']} of {row['dataset']}, {row['model']}, N = {row['train_size']} is listed twice."
        )
    return table[COLUMNS]


def read_tidy(path: str | Path) -> pd.DataFrame:
    """Read a tidy table (empty cells are empty strings, ``index`` is nullable) and check it."""
    texts = [c for c in COLUMNS if c not in ("train_size", "shuffle", "index", "value")]
    try:
        table = pd.read_csv(
            path,
            dtype={**dict.fromkeys(texts, "category"), "index": "Int64"},  # checked in half the time
            keep_default_na=False,
            na_values={"index": [""], "value": ["", "nan"]},
        )
    except FileNotFoundError:
        raise BenchError(f"{path} does not exist; make it with `bench tidy --suite SUITE`.") from None
    except (ValueError, pd.errors.ParserError) as error:
        raise BenchError(
            f"{path} is not a tidy table ({error}); make it again with `bench tidy --suite SUITE`."
        ) from error
    return check(table, path).astype(dict.fromkeys(texts, str))


def at(table: pd.DataFrame, **where: object) -> pd.DataFrame:
    """Return the rows whose columns have these values."""
    for column, value in where.items():
        table = table[table[column] == value]
    return table


def protocol_field(table: pd.DataFrame, key: str) -> pd.Series:
    """Return ``VALUE`` of ``key=VALUE`` in each row's protocol, NaN if it has none."""
    return table["protocol"].str.extract(rf"(?:^|;){key}=([^;]*)", expand=False)


def in_pixels(table: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of copies found in pixels, where a suite may also look for them in feature spaces."""
    return table[protocol_field(table, "space") == "pixels"]


def combine(files: Iterable[Path], out: Path) -> None:
    """Join the measurements of runs into one table, checked, with every digit kept."""
    tables = [table for table in map(read_tidy, files) if len(table)]
    if not tables:
        raise BenchError(f"There is nothing to write to {out}: no run was measured.")
    table = check(pd.concat(tables, ignore_index=True), out)
    write_text(out, table.to_csv(index=False))

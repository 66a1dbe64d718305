"""Numbers that papers print (``results/published``), as one table in the shape of measured numbers."""

from __future__ import annotations

import re
from pathlib import Path

import pandas as pd

from bench.support.errors import BenchError

ROOT = Path(__file__).parent.parent.parent / "results" / "published"
COLUMNS = [
    "paper", "dataset", "label", "family", "variant", "root", "train_size", "recipe", "shuffle", "split", "metric",
    "index_name", "index", "value", "protocol", "version",
]  # fmt: skip
_DAGGER = {"default": "", "dagger": "dagger"}
_MEANS = {
    "mean_train_psnr_db": ("psnr_mean", "train"),
    "mean_test_psnr_db": ("psnr_mean", "test"),
    "mean_psnr_gap_db": ("psnr_gap_mean", "train-test"),
    "fid": ("fid", ""),
}
_MODELS = {"DiT": "DiT-XS/1"}  # the DiT of Fig. 2
_WINDOWS = {
    "local": "w/ Local",
    "local*": "Local*",
    "local, smaller windows": "Local (smaller)",
    "local*, larger windows": "Local* (larger)",
}


def published() -> pd.DataFrame:
    """Return every printed number, ``COLUMNS``; dataset and model carry readers' names, ``train_size`` 0 is "all"."""
    tables = [_long(path) for path in sorted(ROOT.glob("*/numbers.csv"))]
    folder = ROOT / "an2024"
    tables += [_wide(path) for path in sorted(folder.glob("*.csv")) if path.stem != "numbers"]
    if not tables:
        raise BenchError(f"{ROOT} holds no printed numbers; restore it with `git checkout {ROOT}`.")
    table = pd.concat(tables, ignore_index=True)
    # Figs. 6 to 8 and Tables 1 to 3 share cells
    key = [c for c in COLUMNS if c != "value"]
    return table.drop_duplicates(key, ignore_index=True)


def files() -> list[Path]:
    """Return the files that :func:`published` reads."""
    return sorted(ROOT.glob("*/*.csv"))


def _read(path: Path) -> pd.DataFrame:
    try:
        return pd.read_csv(path, keep_default_na=False, na_values={"value": [""], "fid": [""]})
    except (OSError, ValueError) as error:
        raise BenchError(
            f"{path} cannot be read ({error}); restore it with `git checkout {path.name}`."
        ) from error


def _long(path: Path) -> pd.DataFrame:
    table = _read(path)
    needed = ["model", "family", "baseline", "variant", "dataset", "train_size", "metric", "index", "value"]
    if missing := [c for c in needed if c not in table.columns]:
        raise BenchError(f"{path} lacks the column {missing[0]!r}; see results/published/README.md.")
    if table["value"].isna().any():
        raise BenchError(f"{path} has a row without a value; every row is one printed number.")
    table = table.assign(
        paper=path.parent.name,
        label=table["model"],
        root=table["baseline"].where(table["baseline"] != "", table["model"]),
        train_size=pd.to_numeric(table["train_size"]).fillna(0).astype(int),
        index=pd.to_numeric(table["index"]).astype("Int64"),
        split="",
    )
    return _complete(table)


def _complete(table: pd.DataFrame) -> pd.DataFrame:
    empty = {"recipe": "", "shuffle": 0, "protocol": "", "version": "", "index_name": "", "index": pd.NA}
    table = table.assign(**{key: value for key, value in empty.items() if key not in table.columns})
    return table[COLUMNS].astype({"index": "Int64", "train_size": int, "value": float})


def _wide(path: Path) -> pd.DataFrame:
    """Return the rows of a table that An et al. print, one per number."""
    table = _read(path)
    rows = []
    for record in table.to_dict("records"):
        model = _MODELS.get(record.get("model"), record.get("model", "DiT-XS/1"))
        same = {
            "paper": "an2024", "dataset": record["dataset"], "root": model, "train_size": record["train_size"],
            "recipe": _DAGGER[record.get("run", "default")], "family": "unet" if model == "UNet" else "dit",
            "variant": _variant(record),
        }  # fmt: skip
        same["label"] = f"{model} {same['variant']}".strip()
        for column, (metric, split) in _MEANS.items():
            if column in record:
                rows.append(same | {"metric": metric, "split": split, "value": record[column]})
    return _complete(pd.DataFrame(rows))


def _variant(record: dict) -> str:
    """Return what a row changes, as ``variant`` of config/models.yaml names it."""
    if windows := record.get("windows"):
        return _WINDOWS.get(windows) or f"Local ({windows})"
    attention, place = record.get("attention", "global"), record.get("placement", "")
    if attention == "global":
        return ""
    if place in ("", "head"):
        return _WINDOWS[attention]
    return re.sub(r"^local", "Local", attention) + f" ({place})"

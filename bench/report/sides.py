"""The two sides of a claim, selected from a table of printed or measured numbers and paired cell by cell."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from bench.models.families import CONTROLS
from bench.results.equal_psnr import GAP, TRAIN, gaps_at_equal_train_psnr, of_run
from bench.results.statistics import FEWEST_POOLED, Prior, fit_prior

if TYPE_CHECKING:
    from bench.report.claims import Claim

EQUAL = "gap_at_equal_train_psnr"  # of both sides, where the two have the same train PSNR
EXTREMES = {"smallest": "min", "largest": "max", "first": "min", "last": "max"}
_PERMUTED = ", permuted"
Side = dict[str, Any]


def listed(value: Any) -> list:
    """Return a list as it is, anything else in a list."""
    return value if isinstance(value, list) else [value]


def sides(claim: Claim, table: pd.DataFrame) -> pd.DataFrame:
    """Return ``left`` and ``right`` of a claim by dataset, models, N, recipe and shuffle, where both sides are known."""
    table, protocol = _scoped(claim, table)
    both = _select(claim.left, table).rename(columns={"value": "left"})
    if isinstance(claim.right, dict):
        shared = _shared(claim.left, claim.right)
        both = both.merge(_select(claim.right, table), on=shared, suffixes=("", "_right"))
        both = both.rename(columns={"value": "right"})
    else:
        both = both.assign(right=float(claim.right))
    if claim.left["metric"] == EQUAL:
        gaps = [gaps_at_equal_train_psnr(*pair) for pair in zip(both["left"], both["right"])]
        both[["left", "right"]] = np.array(gaps, dtype=float).reshape(-1, 2)
        both = both.dropna(subset=["left", "right"]).astype({"left": float, "right": float})
    for column in ("label", "train_size"):
        if f"{column}_right" not in both:
            both = both.assign(**{f"{column}_right": both[column]})
    return both.assign(protocol=protocol)


def _shared(left: Side, right: Side) -> list[str]:
    """Return the columns in which both sides of a comparison must agree."""
    shared = ["paper", "dataset", "recipe", "shuffle"]
    shared += [] if {"train_size"} & {*left, *right} else ["train_size"]
    same_kind = all(left.get(key) == right.get(key) for key in ("family", "label"))
    if same_kind and left.get("role") == right.get("role"):
        return [*shared, "label", "root"]
    return [*shared, "root"] if same_kind and "role" in left and "role" in right else shared


def _scoped(claim: Claim, table: pd.DataFrame) -> tuple[pd.DataFrame, str]:
    """Return the rows that a claim is about, and the text of the protocol that was taken."""
    scope = claim.scope
    if scope.train_sizes == "few":  # of all that a dataset was measured at
        table = table[
            table["train_size"] < table.groupby(["paper", "dataset"])["train_size"].transform("max")
        ]
    table = table[table["metric"].isin(_metrics(claim))]
    keep = pd.Series(True, table.index)
    if scope.datasets is not None:
        keep &= table["dataset"].isin(scope.datasets)
    if scope.recipe is not None:
        keep &= table["recipe"] == scope.recipe
    if scope.printed != "all":  # a measured suite is not a paper
        keep &= table["paper"].isin(["", claim.paper] if scope.printed == "own" else [""])
    if isinstance(scope.train_sizes, list):
        keep &= table["train_size"].isin(scope.train_sizes)
    if claim.version != "all":
        keep &= table["version"].isin(["", claim.version])
    return _of_protocol(claim, table[keep])


def _metrics(claim: Claim) -> list[str]:
    """Return the metrics whose rows a claim reads."""
    named = [
        name
        for side in (claim.left, claim.right)
        if isinstance(side, dict)
        for name in listed(side["metric"])
    ]
    return [*named, TRAIN, GAP] if EQUAL in named else named


def _of_protocol(claim: Claim, table: pd.DataFrame) -> tuple[pd.DataFrame, str]:
    texts = listed(claim.scope.protocol or [])
    for text in texts:
        found = table[table["protocol"].str.contains(text, regex=False)]
        if found["metric"].isin(listed(claim.left["metric"])).any():
            return found, text
    return (table[table["protocol"] == ""] if texts else table), ""  # printed numbers say no protocol


def _select(side: Side, table: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of one side, averaged over what is not named: one per cell, model and shuffle."""
    known = [metric for metric in listed(side["metric"]) if (table["metric"] == metric).any()]
    wanted = (TRAIN, GAP) if side["metric"] == EQUAL else known[:1]
    found = table[table["metric"].isin(wanted)]
    # an image with permuted pixels is evidence of permutation alone
    found = found[found["dataset"].str.endswith(_PERMUTED) == side.get("permuted", False)]
    found = found.assign(dataset=found["dataset"].str.removesuffix(_PERMUTED))
    for key, value in side.items():
        if isinstance(value, str) and value in EXTREMES:
            found = _extreme(found, key, EXTREMES[value])
        elif key not in ("metric", "permuted", "times"):
            found = found[found[key].isin(listed(value))]
    keys = ["paper", "dataset", "label", "root", "train_size", "recipe", "shuffle"]
    if side["metric"] == EQUAL:
        runs = [(*key, of_run(rows)) for key, rows in found.groupby(keys, sort=False)]
        return pd.DataFrame(runs, columns=[*keys, "value"])
    means = found.groupby(keys, as_index=False, sort=False)["value"].mean()
    return means.assign(value=means["value"] * side.get("times", 1.0))


def _extreme(found: pd.DataFrame, column: str, which: str) -> pd.DataFrame:
    """Return the rows at the least or greatest value of a column in each group; of N, there must be two."""
    group = found.groupby(
        ["paper", "dataset", "label", "recipe", *(["train_size"] if column == "index" else [])]
    )[column]
    several = column != "train_size" or group.transform("nunique") > 1
    return found[(found[column] == group.transform(which)) & several] if len(found) else found


def prior_of_differences(
    claim: Claim, both: pd.DataFrame, table: pd.DataFrame, scale: Callable[[pd.Series], pd.Series]
) -> Prior | None:
    """Return what the variance of a claim's pooled difference is like: that of every two trained networks in its cells.

    Variants of one network differ less between shuffles than other pairs, so a claim about variants takes these alone, any
    other claim the rest.  ``both`` are the claim's :func:`sides`, ``scale`` brings values to the scale of the difference.
    None where the sides are not one metric at one N and index, or where too few networks have all cells.
    """
    left, right = claim.left, claim.right
    if not isinstance(right, dict) or left["metric"] == EQUAL:
        return None
    told_apart = {key for key in {*left, *right} if left.get(key) != right.get(key)}
    if not told_apart <= {"family", "label", "role"}:
        return None
    side = {key: value for key, value in left.items() if key not in ("family", "label", "role", "times")}
    of_variants, trained = "root" in _shared(left, right), table[~table["family"].isin(CONTROLS)]
    rows = _select(side, _scoped(claim, trained)[0])
    cell = ["dataset", "train_size", "recipe", "shuffle"]
    rows = rows.merge(both[cell].drop_duplicates(), on=cell).assign(value=lambda one: scale(one["value"]))
    wide = rows.pivot_table(index=cell, columns=["root", "label"], values="value").dropna(axis="columns")
    wide = wide.groupby(["dataset", "shuffle"]).mean()
    pairs = [p for p in itertools.combinations(wide, 2) if (p[0][0] == p[1][0]) == of_variants]
    spread = [variance for one, two in pairs if (variance := (wide[one] - wide[two]).var()) > 0]
    return fit_prior(spread, len(wide) - 1, FEWEST_POOLED) if spread else None

"""Which models of a suite are the paper's placements and window sizes; read from the presets' roles."""

from __future__ import annotations

import re
from collections.abc import Iterable

import pandas as pd

from bench.models.windows import PLACEMENTS
from bench.report.context import Context

# row of Fig. 8 and Table 3 -> roles of the reference and of the network with other windows
COMPARISONS = {
    "same size": ("local-equal", "local-growing"),
    "smaller": ("local", "local-smaller"),
    "larger": ("local-star", "local-star-larger"),
}

CHANGES = {
    "same size": "windows that grow at the same mean size",
    "smaller": "smaller windows",
    "larger": "larger windows",
}


def placements(context: Context, present: set[str]) -> dict[str, dict[str, str]]:
    """Return Local, Local* -> placement -> model, of the first baseline that has two placements or more of one kind.

    Raises BenchError if there is none.
    """
    groups: dict[tuple[str, str], dict[str, str]] = {}
    for model, info in context.plan["models"].items():
        match = re.fullmatch(r"local(-star)?(?:-(mix|tail))?", context.role(model))
        context.about |= {model, info["baseline"]} if match else set()
        if model in present and match:
            name = "Local*" if match[1] else "Local"
            groups.setdefault((info["baseline"], name), {}).setdefault(match[2] or "head", model)
    full = {key: group for key, group in groups.items() if len(group) > 1}
    if not full:
        what = "local attention at two placements or more (models whose `role` is like local and local-mix)"
        raise context.needs(what, instead="add such models under `runs`")
    first = next(iter(full))[0]
    return {
        name: {place: group[place] for place in PLACEMENTS if place in group}
        for (baseline, name), group in full.items()
        if baseline == first
    }


def compared(rows: pd.DataFrame, groups: dict[str, dict[str, str]]) -> pd.DataFrame:
    """Return the rows of the datasets and N at which two placements of a group or more were measured.

    Of their shuffles, those with the most placements, so that all means are over the same images.
    """
    cell = [rows["dataset"], rows["train_size"]]
    names = [[*group.values()] for group in groups.values()]

    def count(models: list[str], keys: list[pd.Series]) -> pd.Series:
        return rows["model"].where(rows["model"].isin(models)).groupby(keys).transform("nunique")

    several = pd.concat([count(models, cell) for models in names], axis=1).max(axis=1) > 1
    placed = count([model for models in names for model in models], [*cell, rows["shuffle"]])
    return rows[several & (placed == placed.groupby(cell).transform("max"))]


def best(context: Context, table: pd.DataFrame, value: str) -> pd.DataFrame:
    """Return the row with the least ``value`` of each group, dataset and N whose placements may all be ranked.

    ``table`` has the columns ``windows`` (the group), ``dataset``, ``train_size``, ``model``, ``placement``.
    """
    own = table[(table["windows"] != "") & table[value].notna()]
    ranked = [*map(context.ranked, own["model"], own["dataset"], own["train_size"])]
    cells = own.assign(ranked=ranked).groupby(["windows", "dataset", "train_size"])
    return own.loc[cells[value].idxmin()[cells["ranked"].all() & (cells.size() > 1)]]


def in_words(found: pd.DataFrame) -> str:
    """Return how often each placement is the best."""
    if found.empty:
        return "none is named while a placement is still learning or not fitted"
    counts = found["placement"].value_counts()
    return f"{', '.join(f'{place} in {n}' for place, n in counts.items())} of {len(found)} cells"


def comparisons(context: Context, present: set[str]) -> dict[str, tuple[str, str]]:
    """Return same size, smaller, larger -> (reference model, changed model); raises BenchError if there is none."""
    roles = {role for pair in COMPARISONS.values() for role in pair}
    context.about |= {model for model in context.plan["models"] if context.role(model) in roles}
    known = {
        (info["baseline"], context.role(model)): model
        for model, info in context.plan["models"].items()
        if model in present and info["baseline"]
    }
    found = {
        name: (known[baseline, first], known[baseline, second])
        for name, (first, second) in COMPARISONS.items()
        for baseline, role in known
        if role == second and (baseline, first) in known
    }
    if not found:
        what = "two window sizes of one kind (models whose `role` is like local and local-smaller)"
        raise context.needs(what, instead="add such models under `runs`")
    return found


def changes_in_words(names: Iterable[str]) -> str:
    """Return what the compared networks have in place of the reference's windows, of the comparisons that are shown."""
    return " or ".join(CHANGES[name] for name in names)


def others(context: Context, rows: pd.DataFrame) -> list[str]:
    """Return the models of other families than transformers with windows, say a UNet, to list below."""
    models = context.plan["models"]
    windowed = {models[m]["family"] for m in set(rows["model"]) if models[m]["baseline"]}
    return [m for m in context.ordered(rows, "model") if models[m]["family"] not in windowed]

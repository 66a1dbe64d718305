"""Which models of a suite are the paper's placements and window sizes; read from the presets' roles."""

from __future__ import annotations

import re

import pandas as pd

from bench.models.windows import PLACEMENTS
from bench.report.context import Context
from bench.support.errors import BenchError

# row of Fig. 8 and Table 3 -> roles of the reference and of the network with other windows
COMPARISONS = {
    "same size": ("local-equal", "local-growing"),
    "smaller": ("local", "local-smaller"),
    "larger": ("local-star", "local-star-larger"),
}


def placements(context: Context, present: set[str]) -> dict[str, dict[str, str]]:
    """Return Local, Local* -> placement -> model, of the first baseline that has two placements or more of one kind.

    Raises BenchError if there is none.
    """
    groups: dict[tuple[str, str], dict[str, str]] = {}
    for model, info in context.plan["models"].items():
        match = re.fullmatch(r"local(-star)?(?:-(mix|tail))?", context.role(model))
        if model in present and match:
            name = "Local*" if match[1] else "Local"
            groups.setdefault((info["baseline"], name), {}).setdefault(match[2] or "head", model)
    full = {key: group for key, group in groups.items() if len(group) > 1}
    if not full:
        raise BenchError(
            f"{context.item} of suite {context.suite!r} needs local attention at two placements or more "
            "(models whose `role` is like local and local-mix); add such models to the suite."
        )
    first = next(iter(full))[0]
    return {
        name: {place: group[place] for place in PLACEMENTS if place in group}
        for (baseline, name), group in full.items()
        if baseline == first
    }


def comparisons(context: Context, present: set[str]) -> dict[str, tuple[str, str]]:
    """Return same size, smaller, larger -> (reference model, changed model); raises BenchError if there is none."""
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
        raise BenchError(
            f"{context.item} of suite {context.suite!r} needs two window sizes of one kind (models whose `role` is "
            "like local and local-smaller); add such models to the suite."
        )
    return found


def others(context: Context, rows: pd.DataFrame) -> list[str]:
    """Return the models of another family than transformers with windows, say a UNet, to stand beneath."""
    models = context.plan["models"]
    windowed = {models[m]["family"] for m in set(rows["model"]) if models[m]["baseline"]}
    return [m for m in context.ordered(rows, "model") if models[m]["family"] not in windowed]

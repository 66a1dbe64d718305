"""Which models of a suite are the paper's placements and window sizes; read from the presets' ``variant``."""

from __future__ import annotations

import re

from bench.report.context import Context
from bench.support.errors import BenchError

PLACEMENTS = ("head", "mix", "tail")
# row of Fig. 8 and Table 3 -> (reference, changed windows), as `variant` names them
COMPARISONS = {
    "same size": ("Local (5*6)", "Local (3*2,5*2,7*2)"),
    "smaller": ("w/ Local", "Local (smaller)"),
    "larger": ("Local*", "Local* (larger)"),
}


def placements(context: Context, present: set[str]) -> dict[str, dict[str, str]]:
    """Return Local, Local* -> placement -> model, of the first baseline that has two placements or more of one kind.

    Raises BenchError where there is none.
    """
    groups: dict[tuple[str, str], dict[str, str]] = {}
    for model, info in context.plan["models"].items():
        match = re.fullmatch(r"(?:w/ )?(Local\*?)(?: \((head|mix|tail)\))?", info["variant"] or "")
        if model in present and match:
            groups.setdefault((info["baseline"], match[1]), {}).setdefault(match[2] or "head", model)
    full = {key: group for key, group in groups.items() if len(group) > 1}
    if not full:
        raise BenchError(
            f"{context.item} of suite {context.suite!r} needs local attention at two placements or more "
            "(models whose `variant` is like 'w/ Local' and 'Local (mix)'); add such models to the suite."
        )
    first = next(iter(full))[0]
    return {name: group for (baseline, name), group in full.items() if baseline == first}


def comparisons(context: Context, present: set[str]) -> dict[str, tuple[str, str]]:
    """Return same size, smaller, larger -> (reference model, changed model); raises BenchError where there is none."""
    known = {
        (i["baseline"], i["variant"]): m
        for m, i in context.plan["models"].items()
        if m in present and i["variant"]
    }
    found = {
        name: (known[baseline, first], known[baseline, second])
        for name, (first, second) in COMPARISONS.items()
        for baseline, variant in known
        if variant == second and (baseline, first) in known
    }
    if not found:
        raise BenchError(
            f"{context.item} of suite {context.suite!r} needs two window sizes of one kind (models whose `variant` is "
            "like 'w/ Local' and 'Local (smaller)'); add such models to the suite."
        )
    return found


def is_paper_model(context: Context, model: str) -> bool:
    """Return whether the printed numbers of Fig. 7, 8 and Tables 2, 3 are of this model's baseline."""
    baseline = context.plan["models"][model]["baseline"] or model
    return baseline in context.plan["models"] and context.label(baseline) == "DiT-XS/1"

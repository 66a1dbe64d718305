"""What the items of this paper share: the machines by name, and which of them matches a network's padding."""

from __future__ import annotations

from collections.abc import Iterable

from bench.report.context import Context

# As the table's heads name them; in the paper ELS, ELS broken by the border, LS and IS, and a linear filter beside them
MACHINES = {
    "equivariant": "equivariant local",
    "boundary-broken": "boundary-broken",
    "local": "local",
    "ideal": "ideal",
    "linear": "linear",
}
METRIC = "agreement_sample_correlation"


def own(context: Context, model: str) -> str:
    """Return the machine that matches a network's padding: equivariant for circular, boundary-broken for zeros."""
    circular = context.plan["models"][model]["options"].get("padding") == "circular"
    return "equivariant" if circular else "boundary-broken"


def ordered(present: Iterable[str]) -> list[str]:
    """Return the machines that were measured, in the table's order."""
    return [name for name in MACHINES if name in set(present)]

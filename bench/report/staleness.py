"""Which stored rows an item shows that the present code, options or data would not give again."""

from __future__ import annotations

from bench.report.context import Context
from bench.report.items import Item
from bench.support.errors import BenchError

# reasons of bench.results.baselines.status that concern the training itself
_OWN = ("training options changed", "code of train changed", "is another version here", "not in the suite")


def stale_note(context: Context, item: Item) -> str:
    """Return a sentence for the caption; empty where the measurements were made here, or all that it draws are current."""
    if not context.from_baseline or not item.measures:
        return ""
    from bench.results import baselines
    from bench.suite import plan

    shown = {run["name"] for run in context.plan["runs"] if context.wanted(run)}
    try:
        status = baselines.status(plan.load(context.suite), runs=shown)
    except BenchError as error:
        return f" Whether the stored rows are stale cannot be said: {error}"
    status |= _of_training(status) if "training" in item.measures else {}
    of_item = {key: word for key, word in status.items() if key[1] in item.measures}
    stale = {key: word for key, word in of_item.items() if word != baselines.CURRENT}
    if not stale:
        return ""
    (run, metric), word = next(iter(stale.items()))
    return (
        f" STALE: {len(stale)} of {len(of_item)} stored measurements behind it would not be given again by the present "
        f"code, options or data, the first: {metric} of {run} ({word.removeprefix('stale: ')})."
    )


def _of_training(status: dict[tuple[str, str], str]) -> dict[tuple[str, str], str]:
    """Return (run, "training") -> status: of the reasons of its measurements, those that are the run's own."""
    from bench.results.baselines import CURRENT

    found = {(run, "training"): CURRENT for run, _ in status}
    for (run, _), word in status.items():
        why = [reason for reason in word.removeprefix("stale: ").split(", ") if reason.endswith(_OWN)]
        if why:
            found[run, "training"] = f"stale: {', '.join(why)}"
    return found

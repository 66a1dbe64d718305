"""Which stored rows an item shows that the present code, options or data would not give again."""

from __future__ import annotations

from bench.errors import BenchError
from bench.report.context import Context
from bench.report.items import Item


def stale_note(context: Context, item: Item) -> str:
    """Return a sentence for the caption; empty where the measurements were made here, or all are current."""
    if not context.from_baseline:
        return ""
    from bench import plan
    from bench.compare import baselines

    try:
        status = baselines.status(plan.load(context.suite))
    except BenchError as error:
        return f" Whether the stored rows are stale cannot be said: {error}"
    read = {item.measure, *item.arrays, "psnr"} if item.measure else None
    shown = {run["name"] for run in context.plan["runs"] if context.wanted(run)}
    of_item = {key: word for key, word in status.items() if key[0] in shown and (not read or key[1] in read)}
    stale = {key: word for key, word in of_item.items() if word != baselines.CURRENT}
    if not stale:
        return ""
    (run, metric), word = next(iter(stale.items()))
    return (
        f" STALE: {len(stale)} of {len(of_item)} stored measurements behind it would not be given again by the present "
        f"code, options or data, the first: {metric} of {run} ({word.removeprefix('stale: ')})."
    )

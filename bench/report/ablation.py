"""The table of an ablation: variants of one family against their baselines."""

from __future__ import annotations

from bench.report.context import Context
from bench.report.paired import Pair, paired_table
from bench.report.table import Table
from bench.results.measures import GAP, TEST
from bench.results.tidy import at


def ablation_table(
    context: Context, what: dict[str, str], presets: str, variants: tuple[str, ...] = ()
) -> Table:
    """Build a row for each dataset, N and variant; ``what`` says by family what its rows show.

    ``variants`` restricts them, empty for all.  Raises BenchError if no variant has its baseline; ``presets`` then says
    which to add.
    """
    tests = context.rows("psnr_mean", split="test")
    models, present = context.plan["models"], set(tests["model"])
    known = [
        (info["baseline"], model)
        for model, info in models.items()
        if model in present and info["baseline"] in present and info["family"] in what
        and (not variants or info["variant"] in variants)
    ]  # fmt: skip
    if not known:
        needed = f"{' and '.join(what.values())}: no variant with its baseline"
        raise context.needs(needed, instead=f"add {presets} under `runs`")
    pairs = [
        Pair(dataset, size, pair, f"{context.label(pair[0])} → {context.label(pair[1])}")
        for dataset, size, _ in context.groups(tests, "dataset", "train_size")
        for pair in known
        if len(context.paired(at(tests, dataset=dataset, train_size=size), pair))
    ]
    families = {models[pair.models[1]]["family"] for pair in pairs}
    shown = " and ".join(text for family, text in what.items() if family in families)
    distance = [context.distance] if context.has(context.distance) else []
    return paired_table(
        context, pairs, [TEST, GAP, *distance], f"Ablation: {shown};", ("baseline", "variant")
    )

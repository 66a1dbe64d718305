"""A table of variants of one family against their baseline, paired: the ablation of a paper."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from bench.report.context import Context
from bench.report.paired import CLIPPED, Difference, at, difference, judged, meaning, shuffles
from bench.report.table import Table


@dataclass(frozen=True)
class Ablation:
    """``families``: those whose variants are rows -> what these show; ``variants`` restricts them, empty for all."""

    families: dict[str, str]
    add: str
    variants: tuple[str, ...] = ()

    def what(self, present: set[str]) -> str:
        """Return what the rows of the families that are present show."""
        return ", and ".join(text for family, text in self.families.items() if family in present)


def ablation_table(context: Context, ablation: Ablation) -> Table:
    """Build a row for each dataset, N and variant; raises BenchError where no variant has its baseline."""
    tests, gaps = context.rows("psnr_mean", split="test"), context.rows("psnr_gap_mean")
    pairs = _pairs(context, ablation, set(tests["model"]))
    if not pairs:
        raise context.needs(
            f"{ablation.what(set(ablation.families))}: no variant with its baseline",
            instead=f"add {ablation.add} under `runs`",
        )
    distance = "fid" if (context.tidy["metric"] == "fid").any() else "frechet"
    has = (context.tidy["metric"] == distance).any()
    tables = [(tests, "higher"), (gaps, "lower"), *([(context.rows(distance), "lower")] if has else [])]
    lines = [
        (dataset, size, pair)
        for dataset in context.ordered(tests, "dataset")
        for size in context.ordered(tests[tests["dataset"] == dataset], "train_size")
        for pair in pairs
        if len(context.paired(at(tests, dataset, size), pair))
    ]
    changes = [
        judged([difference(at(t, *line[:2]), line[2]) for line in lines], better) for t, better in tables
    ]
    bases = [_base(context, tests, line) for line in lines]
    names = ["Test PSNR (dB)", "PSNR gap (dB)", "FID" if distance == "fid" else "Fréchet"][: len(tables)]
    return Table(
        _frame(context, lines, bases, changes, names),
        _numbers(lines, bases, changes, ["test_psnr", "psnr_gap", distance][: len(tables)]),
        _caption(context, ablation, lines, changes[0]),
    )


def _base(context: Context, tests: pd.DataFrame, line: tuple) -> float:
    """Return the baseline's test PSNR at the shuffles that its variant has too."""
    dataset, size, pair = line
    both = context.paired(at(tests, dataset, size), pair)
    return both.loc[both["model"] == pair[0], "value"].mean()


def _frame(
    context: Context, lines: list, bases: list[float], changes: list, names: list[str]
) -> pd.DataFrame:
    cells = [
        [
            *(context.title(dataset), f"{context.label(pair[0])} → {context.label(pair[1])}", f"{size:,}"),
            *(f"{base:.2f}", *(change.text() for change in found), found[0].word),
        ]
        for (dataset, size, pair), base, *found in zip(lines, bases, *changes, strict=True)
    ]
    deltas = [f"Δ {name}" for name in names]
    heads = ["Dataset", "Variant", "N", "Baseline's test PSNR (dB)", *deltas, "Verdict"]
    return pd.DataFrame(cells, columns=heads)


def _numbers(lines: list, bases: list[float], changes: list, measures: list[str]) -> pd.DataFrame:
    records = [
        [
            dataset,
            size,
            *pair,
            base,
            *(c.interval.mean for c in found),
            found[0].interval.low,
            found[0].interval.high,
        ]
        for (dataset, size, pair), base, *found in zip(lines, bases, *changes, strict=True)
    ]
    keys = ["dataset", "train_size", "baseline", "variant", "baseline_test_psnr"]
    return pd.DataFrame(records, columns=[*keys, *measures, "test_psnr_low", "test_psnr_high"])


def _caption(context: Context, ablation: Ablation, lines: list, tests: list[Difference]) -> str:
    families = {context.plan["models"][pair[1]]["family"] for *_, pair in lines}
    return (
        f"Ablation: {ablation.what(families)}. Δ: differences to the baseline at the same images, initialisation seed and "
        f"noise; the verdict is that of the test PSNR. {CLIPPED} {shuffles(tests)} of both. {meaning(tests)} "
        f"{context.scope}"
    )


def _pairs(context: Context, ablation: Ablation, present: set[str]) -> list[tuple[str, str]]:
    return [
        (info["baseline"], model)
        for model, info in context.plan["models"].items()
        if model in present and info["baseline"] in present and info["family"] in ablation.families
        and (not ablation.variants or info["variant"] in ablation.variants)
    ]  # fmt: skip

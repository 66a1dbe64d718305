"""Tables A5 to A7: variants of one family against their baseline, paired: the ablations of other papers."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from bench.report.context import Context
from bench.report.paired import difference, judged, meaning
from bench.report.tables.table import Table


@dataclass(frozen=True)
class Ablation:
    """``families`` whose variants are rows; ``variants`` restricts them, empty for all."""

    families: tuple[str, ...]
    what: str
    add: str
    variants: tuple[str, ...] = ()


ABLATIONS = {
    "tabA5": Ablation(
        ("dit",),
        "the conditioning blocks of DiT against adaLN-Zero (Peebles & Xie 2022, Fig. 5)",
        "dit-t16-in-context, dit-t16-cross-attention and dit-t16-adaln",
        ("in-context", "cross-attention", "adaLN"),
    ),
    "tabA6": Ablation(
        ("u-dit",), "the parts of U-DiT, one at a time (Tian et al. 2024)", "the presets of u-dit"
    ),
    "tabA7": Ablation(
        ("ascend", "iu-vit"),
        "encoder against decoder at equal multiply-adds, and the parts of IU-ViT (Cao et al. 2022, an interpretation)",
        "ascend-t16 and ascend-t16-symmetric",
    ),
}


def build(context: Context) -> Table:
    """Build a row for each dataset, N and variant; raises BenchError where no variant has its baseline."""
    ablation = ABLATIONS[context.item]
    tests, gaps = context.rows("psnr_mean", split="test"), context.rows("psnr_gap_mean")
    pairs = _pairs(context, ablation, set(tests["model"]))
    if not pairs:
        raise context.needs(
            f"{ablation.what}: no variant with its baseline", instead=f"add {ablation.add} under `runs`"
        )
    distance = "fid" if (context.tidy["metric"] == "fid").any() else "frechet"
    has = (context.tidy["metric"] == distance).any()
    tables = [(tests, "higher"), (gaps, "lower"), *([(context.rows(distance), "lower")] if has else [])]
    lines = [
        (dataset, size, pair)
        for dataset in context.ordered(tests, "dataset")
        for size in context.ordered(tests[tests["dataset"] == dataset], "train_size")
        for pair in pairs
    ]
    changes = [judged([_interval(t, line) for line in lines], better) for t, better in tables]
    keep = [i for i in range(len(lines)) if changes[0][i].interval.count]
    names = ["Test PSNR (dB)", "PSNR gap (dB)", "FID" if distance == "fid" else "Fréchet"][: len(tables)]
    cells, numbers = [], []
    for i in keep:
        dataset, size, pair = lines[i]
        base = tests[
            (tests["dataset"] == dataset) & (tests["train_size"] == size) & (tests["model"] == pair[0])
        ]
        head = [context.title(dataset), f"{context.label(pair[0])} → {context.label(pair[1])}", f"{size:,}"]
        cells.append(
            [*head, f"{base['value'].mean():.2f}", *(c[i].text() for c in changes), changes[0][i].word]
        )
        means = [c[i].interval.mean for c in changes]
        low, high = changes[0][i].interval.low, changes[0][i].interval.high
        numbers.append([dataset, size, *pair, base["value"].mean(), *means, low, high])
    heads = [
        "Dataset",
        "Variant",
        "N",
        "Baseline's test PSNR (dB)",
        *(f"Δ {name}" for name in names),
        "Verdict",
    ]
    keys = ["dataset", "train_size", "baseline", "variant", "baseline_test_psnr"]
    measures = ["test_psnr", "psnr_gap", distance][: len(tables)]
    plain = pd.DataFrame(numbers, columns=[*keys, *measures, "test_psnr_low", "test_psnr_high"])
    caption = (
        f"Ablation: {ablation.what}. Differences to the baseline at the same images, initialisation seed and noise; the "
        f"verdict is that of the test PSNR. {meaning(changes[0])} {context.scope}"
    )
    return Table(pd.DataFrame(cells, columns=heads), plain, caption)


def _interval(table: pd.DataFrame, line: tuple):
    dataset, size, pair = line
    return difference(table[(table["dataset"] == dataset) & (table["train_size"] == size)], pair)


def _pairs(context: Context, ablation: Ablation, present: set[str]) -> list[tuple[str, str]]:
    return [
        (info["baseline"], model)
        for model, info in context.plan["models"].items()
        if model in present and info["baseline"] in present and info["family"] in ablation.families
        and (not ablation.variants or info["variant"] in ablation.variants)
    ]  # fmt: skip

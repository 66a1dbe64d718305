"""Agreement of networks with each other and with closed forms, from the same noise.

Median over samples of the correlation between two models' images, each with its mean removed. Networks that agree with
each other more than with any closed form share something that the closed forms lack; one that agrees with the memoriser
has memorised.
"""

from __future__ import annotations

import itertools

import numpy as np
import pandas as pd

from bench.report.context import Context
from bench.report.items import Item
from bench.report.table import Table
from bench.report.wording import shuffles_in_words
from bench.results.statistics import Interval, paired_interval

ITEM = Item(
    "Table A11",
    arrays=("samples",),
    measures=("samples",),
    counterpart="cosines of SSCD features on CIFAR-10, networks with each other 0.79 to 0.90, with patch means 0.45 to 0.59",
)


def correlation(first: np.ndarray, second: np.ndarray) -> float:
    """Return the median over images of the correlation of uint8 images (n, H, W, C) of two models."""
    centred = [one.reshape(len(one), -1).astype(float) for one in (first, second)]
    centred = [one - one.mean(1, keepdims=True) for one in centred]
    norms = np.prod([np.linalg.norm(one, axis=1) for one in centred], axis=0)
    products = (centred[0] * centred[1]).sum(1)
    return float(np.median(np.divide(products, norms, out=np.zeros_like(products), where=norms > 0)))


def build(context: Context) -> Table:
    """Build a row for each pair of models that share dataset, N and shuffles, at least one of them a network."""
    drawn = _samples(context)
    rows, numbers = [], []
    for (dataset, size), shuffles in drawn.items():
        models = [m for m in context.plan["models"] if any(m in one for one in shuffles.values())]
        for pair in itertools.combinations(models, 2):
            if all(map(context.is_control, pair)):
                continue
            pair = tuple(sorted(pair, key=context.is_control))  # a network first
            both = [one for one in shuffles.values() if {*pair} <= {*one}]
            if not both:
                continue
            found = paired_interval([correlation(*(one[m] for m in pair)) for one in both])
            labels = dict(zip(("Network", "With"), map(context.label, pair)))
            rows.append(
                {"Dataset": context.title(dataset), "N": f"{size:,}", **labels, "Correlation ↑": _text(found)}
            )
            same = {"dataset": dataset, "train_size": size, "first": pair[0], "second": pair[1]}
            numbers.append(same | {end: getattr(found, end) for end in ("mean", "low", "high", "count")})
    if not rows:
        raise context.needs(
            "samples of two models, one of them a network, at the same dataset and N", "samples"
        )
    counts = [row["count"] for row in numbers]
    interval = " with a 95 % interval" if max(counts) > 1 else ""
    best = max(numbers, key=lambda row: row["mean"])
    return Table(pd.DataFrame(rows), pd.DataFrame(numbers), (
        "Agreement of samples from the same noise: median over samples of the correlation of pixels, mean over shuffles"
        f"{interval}; {shuffles_in_words(counts)}; each pair once. Highest: {context.label(best['first'])} with "
        f"{context.label(best['second'])}, {best['mean']:.2f}."
    ), groups=2)  # fmt: skip


def _text(found: Interval) -> str:
    interval = f" [{found.low:.2f}, {found.high:.2f}]" if found.count > 1 else ""
    return f"{found.mean:.2f}{interval}".replace("-", "−")


def _samples(context: Context) -> dict[tuple[str, int], dict[int, dict[str, np.ndarray]]]:
    """Return the samples of measured runs by (dataset, N), shuffle and model."""
    measured = {
        *context.tidy[["dataset", "model", "train_size", "shuffle"]].itertuples(index=False, name=None)
    }
    found: dict[tuple[str, int], dict[int, dict[str, np.ndarray]]] = {}
    for run in context.plan["runs"]:
        key = (run["dataset"], run["model"]["name"], run["train_size"], run["shuffle"])
        if run["measure"].get("samples") is None or run["recipe"] or key not in measured:
            continue
        arrays = context.arrays("samples", *key)
        if "samples" in arrays:
            cell = found.setdefault((key[0], key[2]), {})
            cell.setdefault(key[3], {})[key[1]] = arrays["samples"]
    return found

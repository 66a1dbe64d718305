"""Paired differences of two models over shuffles, and the table that shows them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from bench.report.context import Context
from bench.report.table import Table
from bench.report.wording import shuffles_in_words
from bench.results.measures import ARROWS, GAP, TEST, Measure
from bench.results.statistics import (
    EQUAL,
    LEVEL,
    NO_DIFFERENCE,
    TOO_FEW,
    Interval,
    Prior,
    paired_interval,
    stack,
    verdicts,
)
from bench.results.tidy import METRICS, at

NONE = Interval(math.nan, math.nan, math.nan, 0)
CLIPPED = "The PSNR gap is clipped at 0 per step."
BOLD = "Bold: the better mean, if both may be ranked; the verdict says whether the difference is shown. "
DISTANCES = ("fid", "frechet")
NAMES = {TEST: "Test PSNR (dB)", GAP: "PSNR gap (dB)", "fid": "FID", "frechet": "Fréchet"}
SPLITS = {TEST: "test", GAP: "train-test"}


def head(metric: str) -> str:
    """Return the name of a metric for readers, with an arrow towards the better side."""
    return NAMES[metric] + ARROWS[METRICS[metric].better]


@dataclass(frozen=True)
class Pair:
    """A row of the table: two models on a dataset, N and recipe; ``head`` names them, ``more`` are further cells.

    The second model is empty for one without a partner, such as a UNet below networks with windows.
    """

    dataset: str
    size: int
    models: tuple[str, str]
    head: str
    recipe: str = ""
    more: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Change:
    """Both sides of a pair in one measure, one value for each shuffle that both have."""

    first: np.ndarray
    second: np.ndarray

    @property
    def interval(self) -> Interval:
        """Second minus first."""
        return paired_interval(self.second - self.first) if len(self.second) else NONE

    def text(self, digits: int = 2) -> str:
        """Return mean and interval of the difference with signs; without interval where one shuffle was run."""
        return interval_in_words(self.interval, digits)


def change(table: pd.DataFrame, models: tuple[str, str]) -> Change:
    """Return both sides of ``table``, paired by shuffle; the second is empty if it was not measured, or is no model."""
    wide = table[table["model"].isin(models)].pivot_table(index="shuffle", columns="model", values="value")
    if not {*models} <= {*wide.columns}:
        alone = [] if models[1] else wide.get(models[0], [])
        return Change(np.array(alone, dtype=float), np.array([]))
    wide = wide[[*models]].dropna()
    return Change(wide[models[0]].to_numpy(), wide[models[1]].to_numpy())


def words(changes: Sequence[Change], metric: str, priors: Sequence[Prior | None]) -> list[str]:
    """Return a verdict on each change by its moderated t, corrected for their number, with the metric's own margin.

    ``priors`` are those of the changes' N (:attr:`bench.report.context.Context.priors`).
    """
    measure, row = Measure(metric, "", "", "", METRICS[metric]), METRICS[metric]
    known = [(own, prior) for own, prior in zip(changes, priors, strict=True) if len(own.second)]
    scaled = [
        ((measure.scale(pd.Series(side)) for side in (own.first, own.second)), prior) for own, prior in known
    ]
    tested = [paired_interval((second - first).to_numpy(), prior) for (first, second), prior in scaled]
    found = iter(verdicts(stack(tested), row.better, measure.bound) if tested else ())
    return [str(next(found)) if len(own.second) else "" for own in changes]


def paired_table(
    context: Context,
    pairs: Sequence[Pair],
    metrics: Sequence[str],
    what: str,
    sides: tuple[str, str] = ("first", "second"),
    printed: pd.DataFrame | None = None,
) -> Table:
    """Build a row for each pair: both sides of the first metric, its difference and verdict, differences of the others.

    A model without a partner is shown at the shuffles of the pairs at the same dataset and N.  ``printed`` are the paper's
    numbers of the first metric.
    """
    changes = {m: _changes(context, m, pairs) for m in metrics}
    main, priors = metrics[0], context.priors.get(metrics[0], {})
    judged = words(changes[main], main, [priors.get(pair.size) for pair in pairs])
    digits = 4 if main in DISTANCES else 2
    cells, numbers, bold = [], [], set()
    for i, (pair, word) in enumerate(zip(pairs, judged)):
        own = {m: changes[m][i] for m in metrics}
        means = [side.mean() if len(side) else math.nan for side in (own[main].first, own[main].second)]
        models = [model for model in pair.models if model]
        where = (pair.dataset, pair.size, pair.recipe)
        if all(context.ranked(m, *where) for m in models) and means[0] != means[1] == means[1]:
            better = (means[1] > means[0]) == (METRICS[main].better == "higher")
            bold.add((i, 3 + len(pair.more) + better))
        shown = [f"{mean:.{digits}f}{context.mark(m, *where)}" for mean, m in zip(means, models)]
        row = {
            "Dataset": context.title(pair.dataset),
            "Models": pair.head,
            "N": f"{pair.size:,}",
            **pair.more,
        }
        row |= {f"{head(main)}, {sides[0]}": shown[0], f"{NAMES[main]}, {sides[1]}": "".join(shown[1:])}
        row |= {"Change": percent(*means)} if main in DISTANCES else {}
        row |= {f"Δ {head(m)}": own[m].text(3 if m in DISTANCES else 2) for m in metrics} | {"Verdict": word}
        paper = [math.nan, math.nan]
        if printed is not None and pair.models[1]:
            paper = [context.print_of(printed, m, *where) for m in models]
        if not math.isnan(paper[0]):
            row["The paper"] = f"{paper[0]:.4f} → {paper[1]:.4f} ({percent(*paper)})"
        cells.append(row)
        numbers.append(_numbers(pair, own, word) | {"printed_first": paper[0], "printed_second": paper[1]})
    shuffles = shuffles_in_words(len(own.first) for own in changes[main] if len(own.first))
    best = BOLD if bold else ""
    caption = (
        f"{what} {shuffles}. {_finding(judged)}{best}Δ: second minus first, paired by shuffle; the verdict is that of "
        f"{NAMES[main]}. {meaning(judged, main)} {CLIPPED if GAP in metrics else ''}"
    )
    return Table(
        pd.DataFrame(cells).fillna(""), pd.DataFrame(numbers), " ".join(caption.split()), bold, groups=1
    )


def _changes(context: Context, metric: str, pairs: Sequence[Pair]) -> list[Change]:
    """Return both sides of each pair in one metric, a model alone at the shuffles of its neighbours."""
    tables = [_rows(context, metric, pair) for pair in pairs]
    shared: dict[tuple, set[int]] = {}
    for pair, table in zip(pairs, tables):
        if pair.models[1]:
            both = context.paired(table, pair.models)["shuffle"]
            shared.setdefault((pair.dataset, pair.size, pair.recipe), set()).update(both)
    found = []
    for pair, table in zip(pairs, tables):
        beside = shared.get((pair.dataset, pair.size, pair.recipe))
        alone = beside and not pair.models[1]
        found.append(change(table[table["shuffle"].isin(beside)] if alone else table, pair.models))
    return found


def _rows(context: Context, metric: str, pair: Pair) -> pd.DataFrame:
    where = {"dataset": pair.dataset, "train_size": pair.size, "recipe": pair.recipe}
    return at(context.tidy, metric=metric, split=SPLITS.get(metric, ""), **where)


def _numbers(pair: Pair, own: dict[str, Change], word: str) -> dict:
    found = {"dataset": pair.dataset, "train_size": pair.size, "recipe": pair.recipe}
    found |= {"first": pair.models[0], "second": pair.models[1]}
    found |= {name.lower(): text for name, text in pair.more.items()}
    for metric, both in own.items():
        key = "test_psnr" if metric == TEST else metric
        for side in ("first", "second"):
            values = getattr(both, side)
            found[f"{key}_{side}"] = values.mean() if len(values) else math.nan
        found |= {f"{key}_{end}": getattr(both.interval, end) for end in ("mean", "low", "high")}
    return found | {"verdict": word}


def _finding(judged: Sequence[str]) -> str:
    known = [word for word in judged if word]
    counts = ", ".join(f"{known.count(word)} {word}" for word in dict.fromkeys(known))
    return f"Verdicts of {len(known)} cell{'s' * (len(known) > 1)}: {counts}. " if known else ""


def _margin(metric: str) -> str:
    """Return up to which difference two values of a metric count as equal, in words."""
    row = METRICS[metric]
    assert row.margin is not None  # only such metrics are judged
    return f"{row.margin.size:.0%}" if row.margin.scale == "log-ratio" else f"{row.margin.size:g} {row.unit}"


def meaning(judged: Sequence[str], metric: str) -> str:
    """Return what the brackets and words of a table mean, for its caption; ``metric`` is the one that was judged."""
    if {*judged} <= {TOO_FEW, ""}:
        return "One shuffle has no interval."
    cells = sum(bool(word) for word in judged)
    where = f"{cells} cell{'s' * (cells > 1)}"
    text = f"Brackets: {LEVEL:.0%} t interval of the cell alone; verdicts: moderated t, Holm's correction over {where}"
    equal = f"; 'equal': within {_margin(metric)}" if EQUAL in judged else ""
    return text + equal + (f"; '{NO_DIFFERENCE}' is not 'equal'." if NO_DIFFERENCE in judged else ".")


def signed(value: float, digits: int) -> str:
    """Return a number with its sign and a real minus."""
    return f"{value:+.{digits}f}".replace("-", "−")


def interval_in_words(found: Interval, digits: int) -> str:
    """Return a mean difference with its interval; without one where one shuffle was run, empty for none."""
    if not found.count:
        return ""
    mean = signed(found.mean, digits)
    return mean if found.count < 2 else f"{mean} [{signed(found.low, digits)}, {signed(found.high, digits)}]"


def percent(before: float, after: float) -> str:
    """Return the change in percent with its sign."""
    return "" if math.isnan(before + after) else f"{signed(100 * (after - before) / before, 2)}%"

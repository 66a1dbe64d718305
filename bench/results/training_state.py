"""One word per run, from its own curves: not fitted, overfitted, settled or still learning. Torch-free.

The first that matches.  *Not fitted*: train PSNR below that of the pool's linear filter on the same images.  *Overfitted*:
the final weights lie below the best checkpoint by more than two paired standard errors, on validation images.  *Settled*: a
half-budget run lies less than 0.1 dB below it there; a decaying rate flattens every curve, so the curve alone cannot
tell.  *Still learning*: everything else.
"""

from __future__ import annotations

from collections import Counter
from typing import NamedTuple

import pandas as pd

from bench.suite.options import HALF_BUDGET

NOT_FITTED, OVERFITTED, SETTLED, STILL_LEARNING = "not fitted", "overfitted", "settled", "still learning"
MEANINGS = {
    NOT_FITTED: "train PSNR below that of the pool's linear filter",
    STILL_LEARNING: "half the budget ends 0.1 dB or more lower on validation images",
    OVERFITTED: "an earlier checkpoint is better on validation images",
}
RANKED = (OVERFITTED, SETTLED)  # rankings leave out the others
FEWEST = 5  # checkpoints
ERRORS = 2.0  # standard errors
CLOSE = 0.1  # dB
RUN = ["dataset", "model", "train_size", "shuffle", "recipe"]
READ = ("parameters", "psnr_mean", "linear_psnr_mean", "best_lead", "best_lead_error", "along_psnr_mean")


class Word(NamedTuple):
    """The word of a run, and the numbers behind it; ``word`` is empty if ``why`` says what it lacks."""

    word: str
    why: str


class _Run(NamedTuple):
    """A run's key and numbers, by (metric, split); ``checkpoints`` are its training steps with a PSNR."""

    dataset: str
    model: str
    train_size: int
    shuffle: int
    recipe: str
    numbers: dict[tuple[str, str], float]
    checkpoints: int


def words(table: pd.DataFrame) -> dict[tuple, Word]:
    """Return the word of every trained run of a tidy table, by (dataset, model, train_size, shuffle, recipe).

    Controls, which are not trained, and half-budget runs have none.
    """
    runs = _runs(table[table["metric"].isin(READ)])
    halves = {
        (*run[:3], run.recipe.removesuffix(HALF_BUDGET).rstrip("-")): run for run in runs if _is_half(run)
    }
    wholes = {
        tuple(run[:5]): run for run in runs if not _is_half(run) and run.numbers.get(("parameters", "")) != 0
    }
    found = {}
    for key, run in wholes.items():
        half = halves.get((*run[:3], run.recipe))
        beside = wholes.get((*run[:3], half.shuffle, run.recipe)) if half else None
        found[key] = _word(run, half, beside)
    return found


def by_cell(runs: dict[tuple, Word], recipe: str = "") -> dict[tuple[str, str, int], Word]:
    """Return the worst of :func:`words` of a recipe, the plain one by default, by (dataset, model, train_size)."""
    worst = (NOT_FITTED, STILL_LEARNING, "", OVERFITTED, SETTLED)
    found: dict[tuple, Word] = {}
    for (dataset, model, size, _, own), word in runs.items():
        if own == recipe:
            place = (dataset, model, size)
            found[place] = min(found.get(place, word), word, key=lambda one: worst.index(one.word))
    return found


def is_ranked(word: str) -> bool:
    """Return whether a run with this word may be called better: not if it is known to be not fitted or still learning."""
    return word in ("", *RANKED)


def _is_half(run: _Run) -> bool:
    return run.recipe.endswith(HALF_BUDGET)


def _runs(rows: pd.DataFrame) -> list[_Run]:
    """Return the runs of these rows in one pass: a group of pandas for each costs twenty times as much."""
    numbers: dict[tuple, dict] = {key: {} for key in zip(*(rows[column] for column in RUN))}
    plain = rows[rows["index_name"] == ""]
    for *key, metric, split, value in zip(*(plain[column] for column in [*RUN, "metric", "split", "value"])):
        numbers[tuple(key)][metric, split] = value
    curve = rows[(rows["metric"] == "along_psnr_mean") & (rows["index_name"] == "training_step")]
    steps = curve[[*RUN, "index"]].drop_duplicates()
    checkpoints = Counter(zip(*(steps[column] for column in RUN)))
    return [
        _Run(dataset, model, size, shuffle, recipe, own, checkpoints[dataset, model, size, shuffle, recipe])
        for (dataset, model, size, shuffle, recipe), own in numbers.items()
    ]


def _word(run: _Run, half: _Run | None, beside: _Run | None) -> Word:
    """Return the word of a run; ``beside`` is the full-budget run of the same shuffle as ``half``."""
    own, linear = (run.numbers.get((metric, "train")) for metric in ("psnr_mean", "linear_psnr_mean"))
    if own is None or linear is None:
        return Word("", "psnr was not measured")
    if own < linear:
        return Word(NOT_FITTED, f"train PSNR {own:.2f} dB, below the linear filter's {linear:.2f} dB")
    if run.checkpoints < FEWEST:
        return Word(
            "", f"{run.checkpoints} checkpoints were measured, fewer than {FEWEST}; set training.checkpoints"
        )
    lead, error = (run.numbers.get((metric, "validation")) for metric in ("best_lead", "best_lead_error"))
    if lead is None or error is None:
        return Word("", "the dataset has no validation images; set `validation: N` in its row")
    if lead > ERRORS * error:
        return Word(
            OVERFITTED, f"the final weights are {lead:.2f} dB below the best checkpoint on validation images"
        )
    return _settled(half, beside)


def _settled(half: _Run | None, beside: _Run | None) -> Word:
    if half is None or beside is None:
        return Word("", "no half-budget run was measured; set `half_budget: true`")
    key = ("psnr_mean", "validation")
    if key not in half.numbers or key not in beside.numbers:
        return Word("", "the half-budget run has no validation PSNR")
    gain = beside.numbers[key] - half.numbers[key]
    said = f"validation PSNR {gain:+.2f} dB from half the budget to all of it"
    return Word(SETTLED if gain < CLOSE else STILL_LEARNING, said)

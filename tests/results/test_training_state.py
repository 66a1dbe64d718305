"""The word of a run, from rows with chosen numbers."""

from __future__ import annotations

import pandas as pd
import pytest

from bench.results.training_state import NOT_FITTED, OVERFITTED, SETTLED, STILL_LEARNING, words

STEPS = (10, 20, 40, 80, 160)


def run(model="net", shuffle=0, recipe="", steps=STEPS, parameters=100.0, **numbers):
    """Rows of one run; numbers are metric_SPLIT=value."""
    same = {"dataset": "d", "model": model, "train_size": 10, "shuffle": shuffle, "recipe": recipe}
    rows = [same | {"metric": "parameters", "split": "", "value": parameters}]
    rows += [
        same
        | {
            "metric": "along_psnr_mean",
            "split": s,
            "index_name": "training_step",
            "index": step,
            "value": 1.0,
        }
        for step in steps
        for s in ("train", "validation", "test")
    ]
    for name, value in numbers.items():
        metric, _, split = name.rpartition("_")
        rows.append(same | {"metric": metric, "split": split, "value": value})
    return pd.DataFrame(rows).fillna({"index_name": ""})


GOOD = {
    "psnr_mean_train": 18.0, "linear_psnr_mean_train": 17.0, "psnr_mean_validation": 17.5,
    "best_lead_validation": 0.05, "best_lead_error_validation": 0.03,
}  # fmt: skip


def word(*runs, key=("d", "net", 10, 0, "")):
    return words(pd.concat(runs, ignore_index=True))[key]


def half(validation, shuffle=0, recipe="half-budget"):
    return run(shuffle=shuffle, recipe=recipe, psnr_mean_validation=validation)


def test_first_match():
    low = GOOD | {"psnr_mean_train": 16.9, "best_lead_validation": 3.0}
    assert word(run(**low), half(17.45)).word == NOT_FITTED
    assert word(run(**GOOD | {"best_lead_validation": 0.061}), half(17.45)).word == OVERFITTED
    assert word(run(**GOOD), half(17.45)).word == SETTLED
    assert word(run(**GOOD), half(17.9)).word == SETTLED, "the half budget may lie above"
    found = word(run(**GOOD), half(17.39))
    assert found.word == STILL_LEARNING and "+0.11 dB from half the budget" in found.why


def test_one_run_of_half_the_budget_serves_all_shuffles_of_its_cell_and_recipe():
    others = run(shuffle=1, **GOOD | {"psnr_mean_validation": 19.0})
    assert word(run(**GOOD), others, half(17.45), key=("d", "net", 10, 1, "")).word == SETTLED
    lonely = word(run(shuffle=1, **GOOD), half(17.45, shuffle=0), key=("d", "net", 10, 1, ""))
    assert lonely.word == "" and "no half-budget run" in lonely.why
    named = run(recipe="eps", **GOOD)
    key = ("d", "net", 10, 0, "eps")
    assert word(named, half(17.45), key=key).word == ""
    assert word(named, half(17.45, recipe="eps-half-budget"), key=key).word == SETTLED


@pytest.mark.parametrize(
    ("change", "steps", "why"),
    [
        ({"linear_psnr_mean_train": None}, STEPS, "psnr was not measured"),
        ({}, STEPS[:4], "4 checkpoints were measured, fewer than 5; set training.checkpoints"),
        ({"best_lead_validation": None}, STEPS, "no validation images; set `validation: N`"),
        ({}, STEPS, "no half-budget run was measured; set `half_budget: true`"),
    ],
)
def test_what_a_word_lacks(change, steps, why):
    numbers = {key: value for key, value in (GOOD | change).items() if value is not None}
    found = word(run(steps=steps, **numbers))
    assert found.word == "" and why in found.why


def test_controls_and_halves_have_no_word():
    table = pd.concat(
        [run(model="wiener", parameters=0.0, **GOOD), run(**GOOD), half(17.45)], ignore_index=True
    )
    assert list(words(table)) == [("d", "net", 10, 0, "")]

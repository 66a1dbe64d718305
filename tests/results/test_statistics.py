"""Intervals, corrections and verdicts with known answers, and their error rates on simulated tables."""

from __future__ import annotations

import math
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from bench.results import statistics
from bench.results.statistics import (
    Interval,
    Prior,
    balanced,
    detectable,
    fit_prior,
    holm,
    judge_claims,
    nested_interval,
    paired_interval,
    replicates,
    stack,
    verdicts,
)

sys.path.insert(0, str(Path(__file__).parent))


def test_interval_is_the_paired_t_test():
    a, b = np.array([1.0, 2.5, 3.0, 4.0]), np.array([0.5, 2.6, 2.0, 3.1])
    known = stats.ttest_rel(a, b)
    found = paired_interval(a - b)
    ci = known.confidence_interval(0.95)
    assert found.p == pytest.approx(known.pvalue)
    assert (found.low, found.high) == pytest.approx((ci.low, ci.high))
    one_sided = stats.ttest_1samp(a - b, 0.1, alternative="greater").pvalue
    assert found.above(0.1) == pytest.approx(one_sided) and found.below(0.1) == pytest.approx(1 - one_sided)


def test_arrays_give_what_their_rows_give():
    values = np.random.default_rng(0).normal(size=(5, 3))
    both, rows = paired_interval(values), stack([paired_interval(row) for row in values])
    for name in ("mean", "low", "high", "p"):
        np.testing.assert_allclose(getattr(both, name), getattr(rows, name))


def test_one_shuffle_has_no_interval():
    for value in (0.3, 0.0):
        found = paired_interval([value])
        assert found.mean == value and math.isnan(found.low) and math.isnan(found.p)
        assert verdicts(stack([found]), "lower") == ["too few shuffles"]


def test_equal_differences_do_not_divide_by_zero():
    found = paired_interval([0.5, 0.5])
    assert (found.low, found.high, found.p) == (0.5, 0.5, 0.0)
    assert paired_interval([0.0, 0.0]).p == 1


@pytest.mark.parametrize("bad", [[], [1.0, math.nan], [math.inf]])
def test_refuses_what_is_not_a_number(bad):
    with pytest.raises(ValueError, match="finite"):
        paired_interval(bad)


def test_the_prior_of_variances_is_recovered():
    draw = np.random.default_rng(3)
    true = 0.04 * 6 / draw.chisquare(6, size=4000)  # scaled inverse chi-square: 6 degrees of freedom, 0.04
    found = fit_prior(true * draw.chisquare(2, size=4000) / 2, 2)
    assert found.freedom == pytest.approx(6, rel=0.2) and found.variance == pytest.approx(0.04, rel=0.05)
    alike = fit_prior(0.04 * draw.chisquare(2, size=4000) / 2, 2)
    assert alike.freedom > 100 and alike.variance == pytest.approx(0.04, rel=0.05)
    assert fit_prior([0.1] * 3, 2) is None


def test_a_prior_moderates_the_variance_by_hand():
    found = paired_interval([1.0, 2.0, 3.0], Prior(1.0, 4.0))
    assert found.error == pytest.approx(math.sqrt((1 * 4 + 2 * 1) / 3 / 3)) and found.freedom == 3
    capped = paired_interval([1.0, 2.0, 3.0], Prior(math.inf, 4.0))
    assert capped.freedom == 2 + statistics.WEIGHT


def test_datasets_and_shuffles_are_replicates():
    rows = [(d, s, n, value) for d in "ab" for s in (0, 1) for n, value in ((10, 1.0 + s), (1000, 3.0 + s))]
    table = pd.DataFrame(rows, columns=["dataset", "shuffle", "train_size", "value"])
    assert replicates(table).tolist() == [2.0, 3.0, 2.0, 3.0]


def test_holm_by_hand():
    # 0.01 * 3, 0.02 * 2 and 0.03 * 1, each at least the one before; NaN is no comparison
    found = holm([0.03, 0.01, math.nan, 0.02])
    assert found[[0, 1, 3]] == pytest.approx([0.04, 0.03, 0.04]) and math.isnan(found[2])
    assert holm([[0.5, 0.9], [0.01, 0.9]]).tolist() == [[1.0, 1.0], [0.02, 0.9]]


def near(mean: float, error: float = 0.01) -> Interval:
    return Interval(mean, error, 5.0, 6)


def test_words():
    cells = stack([near(0.5), near(-0.5), near(0.01), near(0.0, 0.3), near(0.05)])
    assert verdicts(cells, "higher", 0.1).tolist() == [
        "better",
        "worse",
        "equal",
        "no difference shown",
        "equal",
    ]
    assert verdicts(cells, "lower", 0.1).tolist()[:2] == ["worse", "better"]
    assert verdicts(cells, "higher").tolist()[2:] == ["no difference shown", "no difference shown", "better"]


def test_a_difference_as_large_as_detectable_is_the_smallest_that_is_shown():
    cells = stack([near(0.0, 0.1), near(0.0, 0.2)])
    least = detectable(cells)
    for factor, word in ((1.001, "better"), (0.999, "no difference shown")):
        shown = Interval(np.array([factor * least[0], 0.0]), cells.error, cells.freedom, cells.count)
        assert verdicts(shown, "higher")[0] == word


@pytest.mark.parametrize(
    ("mean", "relation", "slack", "word"),
    [
        (-0.5, "<", 0.0, "holds"),
        (0.5, "<", 0.0, "fails"),
        (0.5, ">", 0.0, "holds"),
        (0.5, ">", 0.6, "fails"),
        (0.5, ">", 0.5, "no difference shown"),
        (0.01, "~", 0.1, "holds"),
        (0.5, "~", 0.1, "fails"),
        (0.11, "~", 0.1, "no difference shown"),
    ],
)
def test_claims(mean, relation, slack, word):
    assert judge_claims(stack([near(mean)]), [relation], [slack]) == [word]


def test_claims_of_one_paper_are_corrected_for_their_number():
    found = stack([near(0.5, 0.15), *[near(0.0)] * 9])
    assert judge_claims(found, [">"] * 10)[0] == "no difference shown"
    assert judge_claims(stack([near(0.5, 0.15)]), [">"]) == ["holds"]
    assert judge_claims(stack([paired_interval([1.0])]), [">"]) == ["too few shuffles"]


def test_nested_interval_is_of_the_images_of_every_shuffle():
    part = np.array([1.0, 2.0, 3.0, 4.0])
    one, two = nested_interval([part]), nested_interval([part, part + 1])
    assert one.mean == 2.5 and one.high - 2.5 == pytest.approx(stats.t.ppf(0.975, 3) * part.std(ddof=1) / 2)
    assert two.mean == 3 and two.high - two.mean == pytest.approx((one.high - one.mean) / np.sqrt(2))
    assert np.isnan(nested_interval([part, part[:1]]).low)


MEASURED = [("psnr_mean", "test", False), ("psnr_gap_mean", "train-test", True), ("frechet", "", True)]


@pytest.mark.parametrize(("metric", "split", "log"), MEASURED)
@pytest.mark.parametrize("shuffles", [2, 3, 5])
def test_at_most_one_null_table_in_twenty_contains_a_decision(
    monkeypatch, as_stored, metric, split, log, shuffles
):
    import simulation

    monkeypatch.chdir(as_stored)
    spread = simulation.seed_spread("families", metric, split, log)
    table = simulation.comparisons(spread, 0.0, shuffles, tables=10_000)
    most = 0.0545  # 5 %, and two standard errors of 10,000 tables
    assert table.pooled_tables <= most and table.cell_tables <= most, f"{metric}: {table}"
    papers = simulation.claims(spread, 0.0, shuffles, number=20, tables=10_000)
    assert papers.pooled_tables <= most, f"{metric}, claims: {papers}"


def test_pooled_claims_reach_a_decision(monkeypatch, as_stored):
    """At 0.3 dB with the seed spread of networks that learned: with 3 shuffles on one dataset already, or with 5."""
    import simulation

    monkeypatch.chdir(as_stored)
    spread = simulation.seed_spread("an2024-small", "psnr_mean", "test")[:, :1]
    for shuffles in (3, 5):
        found = simulation.claims(spread, 0.3, shuffles, number=10)
        assert found.pooled >= 0.8, f"{shuffles} shuffles: {found}"


def test_an_uneven_spread_fools_no_claim(monkeypatch):
    """With a prior of three variances, of networks whose spread differs tenfold, one null paper in twenty at most."""
    import simulation

    spread = np.array([0.03, 0.1, 0.3])[:, None, None]
    found = simulation.claims(spread, 0.0, 3, number=10, tables=10_000)
    assert found.pooled_tables <= 0.05, found


def test_replicates_are_averaged_over_the_same_cells():
    """Shuffle 0 has a cell more, of another size: without it the shuffles hardly differ."""
    rows = [("a", 0, 10, 1.0), ("a", 1, 10, 1.1), ("a", 2, 10, 0.9), ("a", 0, 1000, 50.0), ("b", 0, 10, 2.0)]
    table = pd.DataFrame(rows, columns=["dataset", "shuffle", "train_size", "value"])
    assert replicates(balanced(table, ["train_size"])).tolist() == [1.0, 1.1, 0.9, 2.0]
    apart = pd.DataFrame([("a", 0, 10, 1.0), ("a", 1, 100, 2.0)], columns=table.columns)  # nothing is shared
    assert replicates(balanced(apart, ["train_size"])).tolist() == [1.0]
    assert balanced(table[:0], ["train_size"]).empty

"""Intervals and corrections with known answers."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from bench.results.statistics import Interval, holm, nested_interval, paired_interval, verdict


def test_interval_is_the_paired_t_test():
    a, b = np.array([1.0, 2.5, 3.0, 4.0]), np.array([0.5, 2.6, 2.0, 3.1])
    known = stats.ttest_rel(a, b)
    found = paired_interval(a - b)
    ci = known.confidence_interval(0.95)
    assert found.p == pytest.approx(known.pvalue)
    assert (found.low, found.high) == pytest.approx((ci.low, ci.high))


def test_one_shuffle_has_no_interval():
    found = paired_interval([0.3])
    assert found.mean == 0.3 and math.isnan(found.low) and math.isnan(found.p)
    assert verdict(found, math.nan, "lower") == "too few shuffles"


def test_equal_differences_do_not_divide_by_zero():
    assert paired_interval([0.5, 0.5]) == Interval(0.5, 0.5, 0.5, 0.0, 2)
    assert paired_interval([0.0, 0.0]).p == 1


@pytest.mark.parametrize("bad", [[], [1.0, math.nan], [math.inf]])
def test_refuses_what_is_not_a_number(bad):
    with pytest.raises(ValueError, match="finite"):
        paired_interval(bad)


def test_holm_by_hand():
    # 0.01 * 3, 0.02 * 2 and 0.03 * 1, each at least the one before; NaN is no comparison
    assert holm([0.03, 0.01, math.nan, 0.02])[:2] == pytest.approx([0.04, 0.03])
    assert holm([0.03, 0.01, math.nan, 0.02])[3] == pytest.approx(0.04)
    assert math.isnan(holm([0.03, 0.01, math.nan, 0.02])[2])
    assert holm([0.5, 0.9]) == [1.0, 1.0]


def test_verdicts():
    lower = paired_interval([-1.0, -1.1, -0.9])
    assert verdict(lower, 0.01, "lower") == "better"
    assert verdict(lower, 0.01, "higher") == "worse"
    assert verdict(lower, 0.06, "lower") == "no difference shown"


def test_nested_interval_adds_the_spread_of_independent_samples():
    test, train = np.array([1.0, 2.0, 3.0, 4.0]), np.array([10.0, 12.0, 14.0, 16.0])
    one = nested_interval([[test, train]])
    error = np.sqrt(test.var(ddof=1) / 4 + train.var(ddof=1) / 4)
    assert one.mean == 15.5 and one.high - one.mean == pytest.approx(stats.t.ppf(0.975, 3) * error)
    two = nested_interval([[test, train], [test, train]])
    assert two.high - two.mean == pytest.approx((one.high - one.mean) / np.sqrt(2))
    assert np.isnan(nested_interval([[test, train[:1]]]).low)

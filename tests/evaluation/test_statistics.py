"""Means, intervals and comparisons against scipy and against simulation."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from hpo.evaluation.statistics import compare, estimate

ONE = [0.971, 0.975, 0.969, 0.978, 0.973]
TWO = [0.962, 0.968, 0.959, 0.971, 0.951]


def test_the_interval_is_student_s() -> None:
    """Mean and 95 % interval are those scipy gives for the same values."""
    found = estimate(ONE)
    low, high = stats.t.interval(0.95, len(ONE) - 1, loc=np.mean(ONE), scale=stats.sem(ONE))
    assert (found.mean, found.low, found.high) == pytest.approx((np.mean(ONE), low, high))
    assert found.std == pytest.approx(np.std(ONE, ddof=1))


def test_a_single_run_has_no_interval() -> None:
    """One run says nothing about spread, and no interval is made up for it."""
    found = estimate([0.97])
    assert (found.mean, found.n, found.std, found.low, found.high) == (0.97, 1, None, None, None)
    assert compare([0.97], TWO) is None


def test_the_comparison_is_welch_s() -> None:
    """p and the interval of the difference are those of scipy's unequal-variance t-test."""
    found = compare(ONE, TWO)
    assert found is not None
    theirs = stats.ttest_ind(ONE, TWO, equal_var=False)
    interval = theirs.confidence_interval(0.95)
    assert found.p == pytest.approx(theirs.pvalue)
    assert (found.low, found.high) == pytest.approx((interval.low, interval.high))
    assert found.beyond_chance


def test_the_best_of_several_is_judged_harder() -> None:
    """Chosen among four, p is four times as large and the interval wider; p stays a probability."""
    alone, chosen = compare(ONE, TWO), compare(ONE, TWO, chosen_among=4)
    assert alone is not None
    assert chosen is not None
    assert chosen.p == pytest.approx(4 * alone.p)
    assert chosen.low < alone.low < alone.high < chosen.high
    far = compare(ONE, ONE[::-1], chosen_among=50)
    assert far is not None
    assert far.p == 1.0


@pytest.mark.parametrize(("second", "beyond"), [([0.9, 0.9], False), ([0.8, 0.8], True)])
def test_runs_without_spread_are_compared_as_they_are(second: list[float], beyond: bool) -> None:
    """When every run of each came to the same value, equal means are equal and others are not; no warning, no NaN."""
    found = compare([0.9, 0.9], second)
    assert found is not None
    assert found.beyond_chance is beyond


def test_equal_configurations_are_rarely_told_apart() -> None:
    """With the best of three equal ones against an equal baseline, at most about one in twenty is a false alarm."""
    random = np.random.default_rng(7)
    alarms = 0
    for _ in range(400):
        runs = random.normal(0.97, 0.004, size=(4, 5))
        best = max(runs[:3], key=np.mean)
        found = compare(list(best), list(runs[3]), chosen_among=3)
        assert found is not None
        alarms += found.beyond_chance
    assert alarms <= 0.06 * 400

"""Means, intervals and comparisons against scipy and against simulation."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from hpo.evaluation.statistics import compare, estimate, estimate_accuracy, estimate_resampled

ONE = [0.971, 0.975, 0.969, 0.978, 0.973]
TWO = [0.962, 0.968, 0.959, 0.971, 0.951]


def test_the_interval_is_student_s() -> None:
    """Mean and 95 % interval are those scipy gives for the same values."""
    found = estimate(ONE)
    low, high = stats.t.interval(0.95, len(ONE) - 1, loc=np.mean(ONE), scale=stats.sem(ONE))
    assert (found.mean, found.low, found.high) == pytest.approx((np.mean(ONE), low, high))
    assert found.std == pytest.approx(np.std(ONE, ddof=1))


@pytest.mark.parametrize(("values", "why"), [([0.97], "one run"), ([0.97, 0.98], "2 runs")])
def test_too_few_runs_have_no_interval(values: list[float], why: str) -> None:
    """One or two runs say next to nothing about spread: no interval is made up for them, and it is said why."""
    for found in (estimate(values), estimate_accuracy(values, 1000)):
        assert (found.mean, found.n, found.low, found.high) == (pytest.approx(np.mean(values)), len(values), None, None)
        assert found.no_interval == why
    assert compare([0.97], TWO) is None


def test_an_interval_ends_where_values_end() -> None:
    """Student's t knows nothing of 0 and 1; runs that are all alike have no interval, and it is said."""
    found = estimate([0.9, 0.95, 1.0], least=0.0, most=1.0)
    assert found.high == 1.0
    assert found.low is not None
    assert 0.0 < found.low < 0.9
    alike = estimate([0.9] * 3, least=0.0, most=1.0)
    assert (alike.low, alike.high, alike.no_interval) == (None, None, "all runs alike")


def test_accuracies_alike_have_the_interval_of_the_test_split() -> None:
    """Seeds that agree leave Wilson's interval for the finite test split, also where every image was right."""
    for right in (350, 360):
        wilson = stats.binomtest(right, 360).proportion_ci(0.95, method="wilson")
        found = estimate_accuracy([right / 360] * 3, 360)
        assert (found.low, found.high) == pytest.approx((wilson.low, wilson.high))


def test_an_interval_of_accuracies_is_possible_and_holds_the_mean() -> None:
    """However few images and however far apart the seeds: 0 <= low <= mean <= high <= 1, wider than Wilson's alone."""
    for values in ([0.86, 0.99, 1.0], [0.0, 0.0, 0.1], [0.0, 1.0, 0.5], [0.97, 0.971, 0.969]):
        found = estimate_accuracy(values, 360)
        assert found.low is not None
        assert found.high is not None
        assert 0.0 <= found.low <= found.mean <= found.high <= 1.0
        alone = estimate_accuracy([found.mean] * 3, 360)
        assert alone.low is not None
        assert alone.high is not None
        assert found.high - found.low >= alone.high - alone.low


def test_the_interval_of_accuracies_holds_the_true_accuracy() -> None:
    """Simulated: images differ in how hard they are, seeds in how good they are; 95 % hold the accuracy on new ones.

    Of ten thousand 0.3 to 0.7 % did not: that more than 5 % of a thousand do not is no chance (below 1e-6).
    """
    random = np.random.default_rng(3)
    held = 0
    for _ in range(1_000):
        hard = random.beta(6, 0.4, size=400)  # how often each test image is right
        skill = random.normal(0.0, 0.01, size=(3, 1))
        runs = (random.random((3, 400)) < np.clip(hard + skill, 0, 1)).mean(axis=1)
        found = estimate_accuracy(list(runs), 400)
        assert found.low is not None
        assert found.high is not None
        held += found.low <= 6 / 6.4 <= found.high
    assert held >= 0.95 * 1_000


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


@pytest.mark.parametrize(("second", "n", "p"), [(0.9, 5, 1.0), (0.8, 3, 0.1), (0.8, 5, 2 / 252)])
def test_runs_without_spread_are_compared_exactly(second: float, n: int, p: float) -> None:
    """When every run of each came to one value, scipy's permutation p stands in for t, and no interval is made up."""
    found = compare([0.9] * n, [second] * n)
    assert found is not None
    assert (found.p, found.low, found.high) == (pytest.approx(p), None, None)
    theirs = stats.permutation_test(([0.9] * n, [second] * n), lambda x, y: np.mean(x) - np.mean(y))
    assert found.p == pytest.approx(theirs.pvalue)
    assert found.beyond_chance is (p < 0.05)


def test_equal_configurations_are_rarely_told_apart() -> None:
    """With the best of three equal ones against an equal baseline, at most one in twenty is a false alarm.

    Of ten thousand 1.1 to 2.6 % were, in each thousand: that more than 5 % of one are is no chance (below 1e-6).
    """
    random = np.random.default_rng(7)
    alarms = 0
    for _ in range(1_000):
        runs = random.normal(0.97, 0.004, size=(4, 5))
        best = max(runs[:3], key=np.mean)
        found = compare(list(best), list(runs[3]), chosen_among=3)
        assert found is not None
        alarms += found.beyond_chance
    assert alarms <= 0.05 * 1_000


def test_a_resampled_interval_is_for_new_seeds_and_new_items() -> None:
    """It holds the true score about as often as it says, where both move it; with seeds alone it would not."""
    random = np.random.default_rng(0)
    held = {"both": 0, "seeds": 0}
    for _ in range(400):
        items = random.normal(0.0, 1.0, 50)  # difficulty of the test items, the same for all runs
        values = [float(items.mean() + random.normal(0.0, 0.05)) for _ in range(5)]
        both = estimate_resampled(values, [float(items.std(ddof=1)) / 50**0.5] * 5, 50)
        for name, found in (("both", both), ("seeds", estimate(values))):
            assert found.low is not None
            assert found.high is not None
            held[name] += found.low <= 0.0 <= found.high
    assert 0.92 < held["both"] / 400 < 0.98
    assert held["seeds"] / 400 < 0.7


def test_a_resampled_interval_ends_where_values_end() -> None:
    found = estimate_resampled([0.97, 0.98, 0.99], [0.05] * 3, 20, least=0.0, most=1.0)
    assert found.high == 1.0
    assert estimate_resampled([0.5] * 3, [0.0] * 3, 20).no_interval == "all runs alike"
    assert estimate_resampled([0.5] * 3, [0.1] * 3, 20).low is not None
    assert estimate_resampled([0.5, 0.6], [0.1] * 2, 20).no_interval == "2 runs"

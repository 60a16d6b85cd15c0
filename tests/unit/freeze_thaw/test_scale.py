"""Values as the model sees them, and what else is learned of a configuration."""

from __future__ import annotations

import numpy as np
import pytest

from hpo.freeze_thaw.learned import EpochSeconds, Feasibility
from hpo.freeze_thaw.scale import Scale


def test_higher_is_better_whatever_the_direction() -> None:
    for maximize in (True, False):
        low, high = Scale([[0.2, 0.5], [0.9]], maximize=maximize).inside([0.2, 0.9])
        assert (low < high) == maximize


def test_values_come_back_in_their_own_unit() -> None:
    for maximize in (True, False):
        scale = Scale([[0.2, 0.5], [0.9], [0.7]], maximize=maximize)
        place = float(scale.inside([0.6])[0])
        assert scale.outside(place) == pytest.approx(0.6)
        moved = scale.outside(place + 1e-4) - scale.outside(place)
        assert scale.spread_outside(place, 1e-4) == pytest.approx(abs(moved), rel=1e-3)


def test_a_goal_beyond_the_best_is_a_value_beyond_the_best() -> None:
    for maximize, best in ((True, 0.9), (False, 0.2)):
        scale = Scale([[0.2, 0.5], [0.9], [0.7]], maximize=maximize)
        goal = scale.outside(float(scale.inside([best])[0]) + 0.5)
        assert (goal > best) == maximize
        assert abs(goal - best) < 0.7


def test_the_ends_of_good_curves_are_told_apart() -> None:
    """Curves go from 0.1 to 0.98, and what matters is 0.980 or 0.985."""
    curves = [[0.1, 0.6, 0.9, end] for end in (0.985, 0.984, 0.983, 0.98, 0.975, 0.97, 0.95, 0.9, 0.8)]
    scale = Scale(curves, maximize=True)
    assert np.ptp(scale.inside([0.985, 0.980])) > 0.3 * np.ptp(scale.inside([0.980, 0.1]))


def test_a_loss_that_explodes_does_not_hide_the_differences_of_the_others() -> None:
    curves = [[2.0, 1.0], [2.0, 1.1], [2.1, 1.2], [2.0, 1e30], [3.0, 1.15]]
    scale = Scale(curves, maximize=False)
    assert scale.inside([1.0])[0] - scale.inside([1.2])[0] > 0.2
    assert scale.inside([1e30])[0] == scale.inside([1e12])[0]


def test_what_is_not_finite_is_as_bad_as_can_be() -> None:
    scale = Scale([[0.1, 0.5], [0.9, float("nan")], [float("inf")]], maximize=True)
    bad = scale.inside([float("nan"), float("inf"), -1e9])
    assert (bad == bad[0]).all()
    assert bad[0] < scale.inside([0.4])[0]


@pytest.mark.parametrize("curves", [[], [[]], [[float("nan")]], [[0.5]], [[0.5, 0.5], [0.5]]])
def test_nothing_to_tell_apart_is_told_apart_by_nothing(curves: list[list[float]]) -> None:
    assert np.isfinite(Scale(curves, maximize=True).inside([0.5, float("nan")])).all()


def test_seconds_follow_the_rows() -> None:
    draw = np.random.default_rng(0)
    points = draw.random((40, 3))
    seconds = 0.5 * np.exp(2.0 * points[:, 1])
    learned = EpochSeconds(points, seconds)
    assert learned.predict(points) == pytest.approx(seconds, rel=0.25)
    far = learned.predict(np.array([[9.0, 9.0, 9.0]]))[0]
    assert far <= seconds.max() * np.exp(0.5) * 1.001
    assert np.isnan(EpochSeconds(np.empty((0, 3)), np.empty(0)).predict(points)).all()


def test_what_ran_out_of_memory_is_known_by_its_rows() -> None:
    draw = np.random.default_rng(0)
    points = draw.random((60, 2))
    infeasible = points[:, 0] > 0.7
    chances = Feasibility(points, infeasible).predict(np.array([[0.1, 0.5], [0.95, 0.5]]))
    assert chances[0] > 0.9
    assert chances[1] < 0.05


def test_one_failure_among_few_does_not_condemn_the_space() -> None:
    points = np.array([[0.5, 0.5], [0.9, 0.9]])
    chances = Feasibility(points, np.array([False, True])).predict(np.array([[0.1, 0.1]]))
    assert chances[0] > 0.6
    assert (Feasibility(points, np.array([False, False])).predict(points) == 1.0).all()
    assert np.isfinite(Feasibility(points, np.array([True, True])).predict(points)).all()

"""What TPE is shown of a very long study: all of it up to a bound, and evenly spaced trials above."""

from __future__ import annotations

import tracemalloc
from typing import Any

import numpy as np
import pytest
from optuna.distributions import FloatDistribution
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState, create_trial

from hpo.sampling.observations import TrialObservations
from hpo.storage.study_cache import StudyCache


def complete(number: int) -> FrozenTrial:
    params = {"x": min(number, 10_000) / 1e4}
    trial = create_trial(value=float(number), params=params, distributions={"x": FloatDistribution(0, 1)})
    trial.number = trial._trial_id = number
    return trial


def others(most: int, trials: int, running: dict[int, dict[str, float]]) -> list[int]:
    cache = StudyCache(0, "s", (StudyDirection.MINIMIZE,))
    cache.apply(map(complete, range(trials)))
    columns = TrialObservations(cache, StudyDirection.MINIMIZE, most)
    columns.refresh()
    below, above = columns.split(["x"], 5, running)
    assert [round(value * 1e4) for value in below["x"]] == [0, 1, 2, 3, 4]
    return [round(value * 1e4) for value in above["x"]]


@pytest.mark.parametrize("trials", [25, 200])
def test_up_to_the_bound_all_trials_count(trials: int) -> None:
    assert others(trials - 5, trials, {}) == list(range(5, trials))


def test_above_it_so_many_at_equal_distances_and_those_that_run() -> None:
    chosen = others(50, 1005, {2000: {"x": 0.9}, 2001: {"x": 0.95}})
    assert chosen[-2:] == [9000, 9500]
    assert len(chosen) == 52
    assert set(np.diff(chosen[:50])) == {20}
    assert chosen[49] == 1004


def test_a_number_that_somebody_wrote_costs_no_more_than_another() -> None:
    """Arrays by number would be gigabytes with the largest; and an earlier number that comes later has its place."""
    cache = StudyCache(0, "s", (StudyDirection.MINIMIZE,))
    columns = TrialObservations(cache, StudyDirection.MINIMIZE)
    tracemalloc.start()
    try:
        for number in (0, 1, 2, 3, 4, 10_000_000, 7, 6):
            cache.apply([complete(number)])
            columns.refresh()
        assert tracemalloc.get_traced_memory()[1] < 5_000_000
    finally:
        tracemalloc.stop()
    _, above = columns.split(["x"], 2, {5: {"x": 0.0005}})
    assert [round(value * 1e4) for value in above["x"]] == [2, 3, 4, 5, 6, 7, 10_000]


@pytest.mark.parametrize("at_once", [1, 99, 100, 400])
def test_ranks_do_not_depend_on_how_many_came_at_once(at_once: int) -> None:
    cache = StudyCache(0, "s", (StudyDirection.MAXIMIZE,))
    columns = TrialObservations(cache, StudyDirection.MAXIMIZE)
    values = np.random.default_rng(0).integers(0, 40, 400) / 10.0
    for start in range(0, 400, at_once):
        for number in range(start, min(400, start + at_once)):
            trial: Any = complete(number)
            trial.values = [float(values[number])]
            if number % 7 == 0:
                trial.state, trial.intermediate_values = TrialState.PRUNED, {number % 5: 0.5}
            cache.apply([trial])
        columns.refresh()
    below, _ = columns.split(["x"], 30, {})
    complete_ones = sorted(
        (number for number in range(400) if number % 7), key=lambda number: (-values[number], number)
    )
    assert sorted(round(value * 1e4) for value in below["x"]) == sorted(complete_ones[:30])


def observed(*trials: FrozenTrial) -> tuple[StudyCache, TrialObservations]:
    cache = StudyCache(0, "s", (StudyDirection.MINIMIZE,))
    cache.apply(trials)
    columns = TrialObservations(cache, StudyDirection.MINIMIZE)
    columns.refresh()
    return cache, columns


def seen(columns: TrialObservations, name: str, n_below: int) -> tuple[list[float], list[float]]:
    below, above = columns.split([name], n_below, {})
    return below[name].tolist(), above[name].tolist()


def pruned(number: int, *reports: float) -> FrozenTrial:
    trial = complete(number)
    trial.state, trial.values, trial.intermediate_values = TrialState.PRUNED, None, dict(enumerate(reports))
    return trial


def test_a_trial_that_was_taken_back_counts_no_more_and_then_as_it_ends_anew() -> None:
    cache, columns = observed(*map(complete, range(4)))
    again = complete(0)
    again.state, again.values = TrialState.WAITING, None
    cache.drop(0)  # what was told of it was not saved, so the database's word counts
    cache.apply([again])
    columns.refresh()
    assert len(columns) == 3
    assert seen(columns, "x", 1) == ([1e-4], [2e-4, 3e-4])
    other = create_trial(value=9.0, params={"y": 0.5}, distributions={"y": FloatDistribution(0, 1)})
    other.number = other._trial_id = 0
    cache.apply([other])
    columns.refresh()
    assert len(columns) == 4
    assert seen(columns, "x", 1) == ([1e-4], [2e-4, 3e-4])
    assert seen(columns, "y", 0) == ([], [0.5])


def test_the_best_trials_count_only_where_they_have_the_parameter() -> None:
    best = create_trial(value=-1.0, params={"y": 0.5}, distributions={"y": FloatDistribution(0, 1)})
    best.number = best._trial_id = 7
    _, columns = observed(*map(complete, range(3)), best)
    assert seen(columns, "x", 2) == ([0.0], [1e-4, 2e-4])


def test_of_pruned_trials_the_furthest_come_first_and_a_nan_last_of_its_step() -> None:
    _, columns = observed(
        pruned(0, 0.5, np.nan), pruned(1, 0.1), pruned(2, 0.5, 0.4), pruned(3), pruned(4, 0.5, 0.3), pruned(5, 0.5, 0.5)
    )
    order = [seen(columns, "x", count)[0] for count in range(1, 7)]
    assert [set(more) - set(fewer) for fewer, more in zip([[], *order], order, strict=False)] == [
        {number / 1e4} for number in (4, 2, 5, 0, 1, 3)
    ]

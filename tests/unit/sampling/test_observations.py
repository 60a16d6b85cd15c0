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

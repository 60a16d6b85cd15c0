"""What the next trial is expected to ask for: what ten trials in a row have asked for, in their order."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from optuna.distributions import BaseDistribution, FloatDistribution, IntDistribution, distribution_to_json
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState, create_trial

from hpo.search.static_space import STATIC_TRIALS, StaticSpace
from hpo.storage.study_cache import StudyCache

SPACE: dict[str, BaseDistribution] = {"lr": FloatDistribution(0, 1), "units": IntDistribution(1, 8)}


def finished(
    number: int, space: dict[str, BaseDistribution] = SPACE, state: TrialState = TrialState.COMPLETE
) -> FrozenTrial:
    params = dict.fromkeys(space, 1)
    trial = create_trial(
        state=state, value=0.5 if state is TrialState.COMPLETE else None, params=params, distributions=space
    )
    trial.number = trial._trial_id = number
    return trial


def study(trials: Iterable[FrozenTrial] = ()) -> tuple[StudyCache, StaticSpace]:
    cache = StudyCache(0, "s", (StudyDirection.MINIMIZE,))
    cache.apply(trials)
    return cache, StaticSpace(cache)


def test_the_space_is_expected_after_ten_trials_and_after_no_fewer() -> None:
    cache, space = study(finished(number) for number in range(STATIC_TRIALS - 1))
    assert space.refresh() == {}
    cache.apply([finished(9, state=TrialState.PRUNED)])
    assert list(space.refresh().items()) == list(SPACE.items())


@pytest.mark.parametrize(
    "other",
    [
        {"units": IntDistribution(1, 8), "lr": FloatDistribution(0, 1)},
        {"lr": FloatDistribution(0, 1)},
        {"lr": FloatDistribution(0, 2), "units": IntDistribution(1, 8)},
    ],
    ids=["another order", "fewer", "a wider one"],
)
def test_one_trial_that_differs_begins_the_count_anew(other: dict[str, BaseDistribution]) -> None:
    """In another order, too: what a sampler draws for a parameter depends on those it has drawn before."""
    cache, space = study([*map(finished, range(STATIC_TRIALS)), finished(10, other)])
    assert space.refresh() == {}
    cache.apply(map(finished, range(11, 20)))
    assert space.refresh() == {}
    cache.apply([finished(20)])
    assert space.refresh() == SPACE


def test_a_trial_that_failed_says_nothing_of_the_space() -> None:
    """It may have failed before it asked for everything."""
    trials = [*map(finished, range(STATIC_TRIALS)), finished(10, {"lr": SPACE["lr"]}, TrialState.FAIL)]
    _, space = study(trials)
    assert space.refresh() == SPACE
    _, space = study(finished(number, state=TrialState.FAIL) for number in range(2 * STATIC_TRIALS))
    assert space.refresh() == {}


def test_after_a_change_only_trials_that_finish_from_then_on_count() -> None:
    cache, space = study(map(finished, range(STATIC_TRIALS)))
    assert space.refresh() == SPACE
    cache.apply(map(finished, range(10, 25)))  # which asked before the change
    space.changed()
    assert space.refresh() == {}
    cache.apply(map(finished, range(25, 35)))
    assert space.refresh() == SPACE


def test_the_words_of_a_trainer_are_kept_for_that_very_distribution() -> None:
    _, space = study()
    wide, narrow = FloatDistribution(0, 2), FloatDistribution(0, 1)
    space.asked("lr", narrow, "as the trainer wrote it")
    assert space.words("lr", narrow) == "as the trainer wrote it"
    assert space.words("lr", wide) == distribution_to_json(wide)
    assert space.words("units", narrow) == distribution_to_json(narrow)

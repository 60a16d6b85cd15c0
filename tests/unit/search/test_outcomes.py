"""What becomes of a trial: values that the database can hold, or none."""

from __future__ import annotations

import math

import pytest
from optuna.trial import TrialState

from hpo import Objective, Study
from hpo.messages import Finished
from hpo.search.outcomes import classify, given_up, pruned
from hpo.trainers.trial import Trial

ONE = Study(name="own", objective=Objective("train:objective", direction="minimize"))
TWO = Study(name="own", objective=Objective("train:objective", direction=("minimize", "maximize")))


def trial(score: float | None = None) -> Trial:
    return Trial(7, 0, 1, {}, {}, "", score=score)


@pytest.mark.parametrize(
    ("study", "score", "values"),
    [
        (ONE, 0.5, (0.5,)),
        (ONE, 0.0, (0.0,)),
        (ONE, math.inf, (math.inf,)),
        (ONE, math.nan, None),
        (ONE, None, None),
        (TWO, 0.5, None),
    ],
)
def test_a_pruned_trial_has_its_last_value_where_the_tables_can_hold_it(
    study: Study, score: float | None, values: tuple[float, ...] | None
) -> None:
    for outcome in (pruned(study, trial(score)), classify(study, trial(score), Finished(7, "pruned"), {})):
        assert (outcome.state, outcome.values) == (TrialState.PRUNED, values)


def test_a_trial_that_returns_no_number_is_pruned_and_the_sampler_learns_of_it() -> None:
    metrics = dict(zip(TWO.objectives, (0.5, math.nan), strict=True))
    outcome = classify(TWO, trial(), Finished(7, "complete", metrics=metrics), {})
    assert (outcome.state, outcome.values, outcome.constraints) == (TrialState.PRUNED, None, {"finite": 1.0})
    assert outcome.line == "diverged: value_1 is not a number"
    metrics = dict(zip(TWO.objectives, (0.5, 2.0), strict=True))
    outcome = classify(TWO, trial(), Finished(7, "complete", metrics=metrics), {})
    assert (outcome.state, outcome.values, outcome.constraints) == (TrialState.COMPLETE, (0.5, 2.0), {})


def test_a_trial_without_memory_is_pruned_and_one_that_failed_says_where() -> None:
    outcome = classify(ONE, trial(0.5), Finished(7, "out_of_memory", reason="on cuda:0"), {})
    assert (outcome.state, outcome.values, outcome.constraints) == (TrialState.PRUNED, (0.5,), {"memory": 1.0})
    outcome = classify(ONE, trial(0.5), Finished(7, "failed", reason="KeyError: 'x'", where="own.py, line 3"), {})
    assert (outcome.state, outcome.values, outcome.constraints) == (TrialState.FAIL, None, {})
    assert outcome.line == "KeyError: 'x' (own.py, line 3)"


def test_a_trial_whose_trainers_died_says_how_often() -> None:
    dying = trial()
    dying.attempt, dying.trainer_deaths = 3, 2
    assert given_up(dying, "SIGKILL").line == "its trainer ended (SIGKILL) in 2 of 3 attempts"
    dying.trainer_deaths = 3
    assert given_up(dying, "SIGKILL").line == "its trainer ended (SIGKILL) in 3 attempts"

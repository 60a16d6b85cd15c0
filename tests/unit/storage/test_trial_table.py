"""Trials in memory by number, and the lists of them that are given out."""

from __future__ import annotations

from optuna.distributions import FloatDistribution
from optuna.trial import FrozenTrial, TrialState, create_trial

from hpo.storage.trial_table import TrialTable


def complete(number: int, value: float = 0.5) -> FrozenTrial:
    trial = create_trial(value=value)
    trial.number = trial._trial_id = number
    return trial


def test_a_list_that_was_given_out_does_not_grow_under_its_reader() -> None:
    table = TrialTable()
    table.put(complete(0))
    before = table.view(None)
    table.put(complete(1))
    assert [trial.number for trial in before] == [0]
    assert [trial.number for trial in table.view(None)] == [0, 1]
    assert [trial.number for trial in table.view((TrialState.COMPLETE,))] == [0, 1]


def test_a_finished_trial_that_changes_is_there_once_and_as_it_is_now() -> None:
    table = TrialTable()
    for value in (0.1, 0.2):
        table.put(complete(0, value))
        assert [trial.value for trial in table.view(None)] == [value]
    assert [trial.value for trial in table.finished_since(1)[0]] == [0.2]


def test_numbers_that_somebody_else_wrote_break_nothing() -> None:
    """Of two trials with one number each is there by its id, and the later has the number; no change takes the other's
    place, and a trial that we train is not lost for one that gets its number."""
    table = TrialTable()
    training = create_trial(state=TrialState.RUNNING, params={"x": 0.5}, distributions={"x": FloatDistribution(0, 1)})
    for number, trial_id in ((0, 1), (1, 2), (0, 3)):
        trial = complete(number)
        trial._trial_id = trial_id
        table.put(trial)
    assert sorted(trial._trial_id for trial in table.view(None)) == [1, 2, 3]
    assert table.id_of(0) == 3
    moved = complete(7)
    moved._trial_id = 3
    table.put(moved)
    assert sorted((trial.number, trial._trial_id) for trial in table.view(None)) == [(0, 1), (1, 2), (7, 3)]
    training.number, training._trial_id = 9, 4
    table.put(training)
    late = complete(9)
    late._trial_id = 5
    table.put(late)
    assert table[4].params == {"x": 0.5}


def test_a_number_that_was_given_away_again_is_the_later_trials() -> None:
    """The first was read inside a transaction whose commit then failed."""
    table = TrialTable()
    for trial_id in (4, 5):
        trial = create_trial(state=TrialState.RUNNING)
        trial.number, trial._trial_id = 0, trial_id
        table.put(trial)
    assert [trial._trial_id for trial in table.view(None)] == [5]

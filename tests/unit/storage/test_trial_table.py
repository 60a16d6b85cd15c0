"""Trials in memory by number, and the lists of them that are given out."""

from __future__ import annotations

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
    """Of two finished trials with one number the later counts; one that gets another number is there once."""
    table = TrialTable()
    for number, trial_id in ((0, 1), (1, 2), (0, 3)):
        trial = complete(number)
        trial._trial_id = trial_id
        table.put(trial)
    assert [trial._trial_id for trial in table.view(None)] == [3, 2]
    moved = complete(7)
    moved._trial_id = 3
    table.put(moved)
    assert [(trial.number, trial._trial_id) for trial in table.view(None)] == [(1, 2), (7, 3)]

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

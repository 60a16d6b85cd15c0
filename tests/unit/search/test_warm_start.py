"""What a new study takes from an earlier one."""

from __future__ import annotations

from typing import Any

import pytest
from optuna.trial import FrozenTrial, TrialState, create_trial

from hpo import Categorical, Float, Grid, Int, Study
from hpo.errors import StudyError
from hpo.search.warm_start import chosen_from
from hpo.study.space import Space

SPACE = Space(
    {
        "batch_size": 64,
        "layers": Int(1, 2),
        "units": Int(8, 64).per("layers"),
        "optimizer": Categorical("adam", "sgd"),
        "momentum": Float(0.0, 0.9).when(optimizer="sgd"),
        "lr": Float(1e-4, 1e-1, log=True),
    }
)


def trials(*params: dict[str, Any]) -> list[FrozenTrial]:
    made = []
    for number, each in enumerate(params):
        trial = create_trial(state=TrialState.COMPLETE, value=1.0)
        trial.params, trial.number = each, number
        made.append(trial)
    return made


def taken(params: dict[str, Any]) -> dict[str, Any]:
    return chosen_from(trials(params), SPACE).get(0, {})


def test_a_configuration_of_the_same_table_is_taken_whole() -> None:
    whole = {"layers": 2, "units_0": 8, "units_1": 64, "optimizer": "sgd", "momentum": 0.5, "lr": 0.01}
    assert taken(whole) == whole
    SPACE.parameters(whole, what="it")


def test_of_an_overlapping_table_what_has_a_place_is_taken_and_nothing_that_rests_on_what_has_none() -> None:
    other = {"layers": 3, "units_0": 8, "units_1": 8, "optimizer": "lion", "momentum": 0.5, "lr": 0.01, "dropout": 0.1}
    assert taken(other) == {"lr": 0.01}
    assert taken({"optimizer": "adam", "momentum": 0.5, "lr": 1.0}) == {"optimizer": "adam"}
    assert taken({"layers": 1, "units_0": 99, "lr": "fast", "batch_size": 32}) == {"layers": 1}
    assert taken({"dropout": 0.5}) == {}


def test_the_best_comes_that_has_a_place_for_something() -> None:
    assert chosen_from(trials({"lr": 7.0}, {"lr": 0.02}, {"lr": 0.01}), SPACE) == {1: {"lr": 0.02}}
    assert chosen_from(trials({"lr": 7.0}), SPACE) == {}
    anything = chosen_from(trials({"whatever": [1]}), None)
    assert anything == {0: {"whatever": [1]}}


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"warm_start": 7}, "does not name a study"),
        ({"warm_start": ["a", "../b"]}, "does not name a study"),
        ({"warm_start": ("a", "s")}, "cannot start from its own trials"),
        ({"warm_start": "a", "sampler": Grid()}, "tries every combination"),
    ],
)
def test_what_cannot_be_started_from_is_refused(fields: dict[str, Any], words: str) -> None:
    rows = {"batch_size": Int(16, 32, step=16), "hidden_units": 16, "lr": 0.1}
    with pytest.raises(StudyError, match=words):
        Study(name="s", dataset="digits", model="shallow", space=rows, baseline={"batch_size": 16}, **fields)

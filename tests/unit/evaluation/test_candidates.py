"""Which trials an evaluation retrains, whatever plain Optuna has written into the study."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import FrozenTrial, create_trial

from hpo import Int
from hpo.errors import StudyError
from hpo.evaluation.candidates import choose
from hpo.sampling.distributions import distribution
from hpo.study.discovery import as_stored, find_study

STUDY = find_study("mlp_digits").study
EPOCHS = IntDistribution(1, STUDY.epochs)


def trial(number: int, value: float, **attributes: Any) -> FrozenTrial:
    given = STUDY.rows.parameters(STUDY.baseline, what="the baseline")
    searched = STUDY.rows.searched
    rows = {name: distribution(searched.get(name) or searched[name.rpartition("_")[0]]) for name in given}
    made = create_trial(value=value, params=given, distributions=rows, user_attrs=attributes)
    made.number = number
    return made


def foreign(number: int, params: dict[str, Any], distributions: dict[str, Any]) -> FrozenTrial:
    made = create_trial(value=9.0, params=params, distributions=distributions)
    made.number = number
    return made


FOREIGN = [
    foreign(5, {"foo": 0.5}, {"foo": FloatDistribution(0, 1)}),
    foreign(6, {"foo": "a"}, {"foo": CategoricalDistribution(["a", "b"])}),
    foreign(7, {}, {}),
    foreign(8, {"lr": 7.0}, {"lr": FloatDistribution(1, 9)}),
]


def view(*trials: FrozenTrial) -> Any:
    return SimpleNamespace(name=STUDY.name, trials=trials, directions=("maximize",))


def test_a_trial_that_says_nothing_about_how_to_train_is_none_of_them() -> None:
    """However good the value that somebody told."""
    found = choose(STUDY, view(trial(0, 0.9), *FOREIGN, trial(1, 0.8)), top=1, known=False)
    assert [candidate.trial for candidate in found if candidate.rank] == [0]
    with pytest.raises(StudyError, match="no finished trial to evaluate"):
        choose(STUDY, view(*FOREIGN), top=1, known=False)


def test_the_best_is_retrained_beside_the_baseline_also_where_no_trial_passed_it() -> None:
    """`--top 1` took the baseline alone, and answered that there was nothing to compare."""
    other = trial(1, 0.9)
    other.params = {**other.params, "lr": 0.05}
    third = trial(2, 0.8)
    third.params = {**third.params, "lr": 0.06}
    found = choose(STUDY, view(trial(0, 0.9), other, third), top=1, known=False)
    assert [(candidate.trial, candidate.rank, candidate.baseline) for candidate in found] == [
        (0, 1, True),
        (1, 2, False),
    ]


def test_a_known_configuration_with_epochs_of_its_own_trains_to_its_end() -> None:
    """Half of a schedule says nothing of it; without the row there is only how long the others took."""
    known = dict(STUDY.baseline) | {"lr": 0.05}
    rows, length = {**STUDY.rows.rows, "epochs": Int(1, STUDY.epochs)}, STUDY.epochs
    lasting = replace(STUDY, space=rows, baseline={**STUDY.baseline, "epochs": 2}, known=[{**known, "epochs": length}])
    first = trial(0, 0.9, best_epoch=2)
    first.params, first.distributions = first.params | {"epochs": 2}, first.distributions | {"epochs": EPOCHS}
    for study, one, wanted in (
        (lasting, first, (length, "its row of epochs")),
        (replace(STUDY, known=[known]), trial(0, 0.9, best_epoch=2), (2, "median best epoch of the others")),
    ):
        found = choose(study, view(one), top=1, known=True)[-1]
        assert (found.trial, (found.epochs, found.epochs_from)) == (None, wanted)


@pytest.mark.parametrize("best", [10**9, -3, STUDY.epochs])
def test_an_evaluation_trains_no_longer_than_the_study_does(best: int) -> None:
    found = choose(STUDY, view(trial(0, 0.9, best_epoch=best)), top=1, known=False)
    assert all(0 < candidate.epochs <= STUDY.epochs for candidate in found)


@pytest.mark.parametrize(("stored", "images"), [("300", 300), ("-", None), ("1" * 13, None), ("1e3", None), ("", None)])
def test_a_subset_in_the_database_is_a_number_or_none(stored: str, images: int | None) -> None:
    assert as_stored(find_study("mlp_digits"), "n", {"(subset)": stored}).study.subset == images

"""A configuration that a trial has had is not trained twice: what a new trial gets in place of it."""

from __future__ import annotations

import random
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState, create_trial

from hpo import QMC, TPE, BruteForce, Categorical, CmaEs, Fixed, Float, FreezeThaw, Int, NoPruner, Random, Study
from hpo.errors import StudyError
from hpo.freeze_thaw.progress import Progress
from hpo.freeze_thaw.scheduler import Scheduler
from hpo.sampling.repeats import Repeats
from hpo.search.ask_tell import AskTell
from hpo.storage.queries import Claim
from hpo.storage.study_cache import StudyCache
from hpo.study.space import Space, configuration_key

SMALL = {
    "batch_size": Categorical(16, 32, 64),
    "lr": Float(0.1, 0.3, step=0.1),
    "hidden_units": 8,
    "optimizer": Categorical("adam", "sgd"),
    "momentum": Float(0.0, 0.9, step=0.9).when(optimizer="sgd"),
}
"""27 combinations."""

LARGE = {"batch_size": Int(1, 400, log=True), "hidden_units": Int(1, 400, log=True), "lr": 0.1}
"""160,000, of which rounding makes the small ones frequent."""


def study(space: dict[str, Any] = SMALL, **changes: Any) -> Study:
    first = {name: row.ends()[0] for name, row in space.items() if hasattr(row, "ends") and not row.conditions}
    fields: dict[str, Any] = {"name": "s", "dataset": "digits", "model": "shallow", "baseline": first, "epochs": 9}
    return Study(**(fields | {"pruner": NoPruner(), "space": space} | changes))


def asker_of(declared: Study) -> AskTell:
    cache = StudyCache(0, "s", (StudyDirection.MAXIMIZE,))
    return AskTell(declared, 0, cache, Path("checkpoints"), "here", 1)


def searched(asker: AskTell, trials: int) -> list[Any]:
    """The keys of `trials` new trials, one after the other, the best at small batches."""
    draw = random.Random(0)
    begun = len(asker.trials())
    for number in range(begun, begun + trials):
        trial = asker.sample(Claim(number, number, 1, None, True))
        asker.tell(number, TrialState.COMPLETE, [-trial.params["batch_size"] + draw.random()], {}, {})
    return [configuration_key(trial.params) for trial in asker.trials()]


SAMPLERS = [TPE(startup_trials=3), TPE(startup_trials=3, arguments={"n_ei_candidates": 4}), Random(), QMC(), CmaEs()]


@pytest.mark.parametrize("sampler", SAMPLERS, ids=str)
def test_every_combination_comes_once_whatever_proposes(sampler: Any) -> None:
    asker = asker_of(study(sampler=sampler))
    assert asker._room(50) == 27
    assert set(Counter(searched(asker, 27)).values()) == {1}
    assert asker._room(1) == 0, "the run ends: nothing is left to try"
    assert asker.plan(1) == ""


def test_a_study_that_asks_for_repetitions_gets_them_and_has_no_end() -> None:
    asker = asker_of(study(sampler=TPE(startup_trials=3), repeat=True))
    assert max(Counter(searched(asker, 27)).values()) > 1
    assert asker._room(5) == 5


def test_a_table_too_large_to_be_listed_repeats_nothing_either() -> None:
    assert max(Counter(searched(asker_of(study(LARGE, sampler=Random(), repeat=True)), 150)).values()) > 1
    asker = asker_of(study(LARGE, sampler=Random()))
    assert max(Counter(searched(asker, 150)).values()) == 1
    assert asker._room(5) == 5


class Stubborn:
    """One point, whoever asks."""

    def __init__(self, asker: AskTell) -> None:
        self.sampler = asker._sampling.sampler

    def __call__(self, number: int, again: int = 0) -> Any:
        return self.sampler(0)


def test_a_sampler_that_always_proposes_the_same_is_asked_so_often_and_then_another_is_drawn(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asker = asker_of(study(LARGE, sampler=Random()))
    monkeypatch.setattr(asker._sampling, "sampler", Stubborn(asker))
    keys = searched(asker, 5)
    assert len(set(keys)) == 5
    assert asker.plan(1) == ""


def test_where_nothing_else_can_be_found_the_configuration_is_trained_again_and_the_user_is_told_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asker = asker_of(study(LARGE, sampler=Fixed({"batch_size": 7}, Random())))
    monkeypatch.setattr("hpo.sampling.repeats.DRAWS", 0)
    monkeypatch.setattr(asker._sampling, "sampler", Stubborn(asker))
    assert len(set(searched(asker, 3))) == 1
    note = asker.plan(1)
    assert note.startswith("trial 1 trains a configuration again: 11 proposals of Fixed(")
    assert asker.plan(1) == ""


def test_a_held_parameter_stays_held_and_its_combinations_end_the_search() -> None:
    asker = asker_of(study(sampler=Fixed({"batch_size": 32, "optimizer": "adam"}, TPE())))
    keys = searched(asker, 3)
    assert {value for key in keys for name, _, value in key if name == "batch_size"} == {32}
    assert len(set(keys)) == 3
    assert asker._room(1) == 0


def trial_of(number: int, state: TrialState, params: dict[str, Any], **system: Any) -> FrozenTrial:
    trial = create_trial(state=state, value=1.0 if state is TrialState.COMPLETE else None, system_attrs=system)
    trial.params, trial.number, trial._trial_id = params, number, number
    return trial


def test_what_runs_waits_failed_or_is_enqueued_counts_and_what_somebody_asks_for_may_repeat() -> None:
    declared = study(sampler=Random())
    cache = StudyCache(0, "s", (StudyDirection.MAXIMIZE,))
    adam = {"batch_size": 16, "optimizer": "adam"}
    cache.apply(
        [
            trial_of(0, TrialState.RUNNING, {**adam, "lr": 0.1}),
            trial_of(1, TrialState.WAITING, {}, fixed_params={**adam, "lr": 0.2}),
            trial_of(2, TrialState.FAIL, {**adam, "lr": 0.1 + 0.2}),
            trial_of(3, TrialState.WAITING, {}, fixed_params={**adam, "lr": 0.1}),
        ]
    )
    repeats = Repeats(declared, 0, cache, cache)
    assert repeats.room(100, 0) == 24
    assert repeats.room(100, 20) == 4
    assert repeats.fresh(cache.get_trial(3), lambda again: pytest.fail("nobody is asked")) is None


def test_a_trial_that_is_taken_back_into_the_queue_is_no_repetition_of_itself() -> None:
    declared = study(sampler=Random())
    cache = StudyCache(0, "s", (StudyDirection.MAXIMIZE,))
    params = {"batch_size": 16, "optimizer": "adam", "lr": 0.1}
    repeats = Repeats(declared, 0, cache, cache)
    for state in (TrialState.FAIL, TrialState.WAITING, TrialState.COMPLETE):
        cache.apply([trial_of(0, state, params)])
        assert repeats.room(100, 0) == 26, state


@pytest.mark.parametrize(
    ("rows", "may"),
    [
        ({"a": Float(0, 1)}, False),
        ({"a": Float(0, 1, log=False).when(b="x"), "b": Categorical("x", "y")}, True),
        ({"a": Float(1, 1), "b": Int(0, 9)}, True),
        ({"a": Float(0, 1, step=0.1)}, True),
        ({"n": Int(1, 2), "a": Float(0, 1).per("n")}, False),
        ({"c": Categorical("x", "y"), "n": Int(1, 2).when(c="x"), "a": Float(0, 1).per("n")}, True),
        ({"a": 1}, False),
    ],
)
def test_only_tables_whose_configurations_may_be_equal_are_watched(rows: dict[str, Any], may: bool) -> None:
    assert Space(rows).may_repeat() is may
    if may:
        assert Space({**rows, "z": Float(0, 1)}).may_repeat(["z"])


def test_rounding_makes_no_difference_and_a_type_does() -> None:
    assert configuration_key({"a": 0.1 + 0.2, "b": 1}) == configuration_key({"b": 1, "a": 0.3})
    assert configuration_key({"a": True}) != configuration_key({"a": 1})


def test_freeze_thaw_weighs_no_configuration_that_a_trial_has() -> None:
    import numpy as np

    space = Space({"a": Categorical("x", "y"), "b": Int(0, 1)})
    every = list(space.combinations())
    trials = [Progress(n, params, [0.5, 0.6], ended=True) for n, params in enumerate(every[:3])]
    for _ in range(5):
        decision = Scheduler(space, 9, maximize=True).decide(trials, np.random.default_rng())
        assert decision is not None
        assert decision.params == every[3]
    trials.append(Progress(3, every[3], [0.5], ended=True))
    assert Scheduler(space, 9, maximize=True).decide(trials, np.random.default_rng(0)) is None
    again = Scheduler(space, 9, maximize=True, repeat=True).decide(trials, np.random.default_rng(0))
    assert again is not None


def test_what_repeat_cannot_mean_is_refused() -> None:
    from hpo import Objective

    with pytest.raises(StudyError, match="repeat='no' must be True or False"):
        study(repeat="no")
    with pytest.raises(StudyError, match="repeat=True has no meaning"):
        Study(name="o", objective=Objective("m:f", direction="maximize"), repeat=True)
    assert not Repeats(
        Study(name="o", objective=Objective("m:f", direction="maximize"), sampler=BruteForce()),
        0,
        None,
        None,  # type: ignore[arg-type]
    ).watches
    assert study(repeat=True).declaration()["(repeat)"] == "True"
    assert "(repeat)" not in study(search=FreezeThaw()).declaration()

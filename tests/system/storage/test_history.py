"""A study is opened in bulk with the trials, and the proposals, that reading it trial by trial gives."""

from __future__ import annotations

import math
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState, create_trial
from sqlalchemy import Engine, text

from hpo import TPE, Categorical, CmaEs, Float, Int, Study
from hpo.sampling.intake import Intake, OpenIntake
from hpo.search.ask_tell import AskTell
from hpo.storage import queries
from hpo.storage.finished_trial import OF_TPE, FinishedTrial, frozen
from hpo.storage.study_cache import StudyCache

STUDY = Study(
    name="s",
    dataset="digits",
    model="mlp",
    space={
        "batch_size": Int(3, 100),
        "layers": Int(1, 3),
        "hidden_units": Int(8, 64, step=8).per("layers"),
        "optimizer": Categorical("adam", "sgd"),
        "momentum": Float(0.0, 0.9, step=0.1).when(optimizer="sgd"),
        "lr": Float(1e-5, 1e-1, log=True),
    },
    baseline={"batch_size": 64, "layers": 1, "hidden_units": [32], "optimizer": "adam", "lr": 1e-3},
    sampler=TPE(startup_trials=5),
)
SPACE: dict[str, BaseDistribution] = {
    "batch_size": IntDistribution(3, 100),
    "lr": FloatDistribution(1e-5, 1e-1, log=True),
    "optimizer": CategoricalDistribution(["adam", "sgd"]),
}
PLAIN = 12
PARAMS = {"batch_size": 30, "lr": 0.01, "optimizer": "adam"}


def plain(rng: random.Random) -> dict[str, Any]:
    """As hpo leaves a trial that is complete."""
    return {
        "value": rng.random(),
        "params": {"batch_size": rng.randint(3, 100), "lr": 10 ** rng.uniform(-5, -1), "optimizer": "sgd"},
        "distributions": SPACE,
        "intermediate_values": {step: rng.random() for step in range(1, rng.randint(2, 9))},
        "user_attrs": {"config": {"lr": 0.1, "names": ["a\nb", "ä\u2028", "\x7f"]}, "seed": rng.getrandbits(31)},
        "system_attrs": {"tpe:relative_params:0": '{"lr": 0.01}'},
    }


WITHOUT = {"params": {}, "distributions": {}}
ODD: dict[str, dict[str, Any]] = {
    "without anything": {"value": 0.5},
    "failed": {"state": TrialState.FAIL, "user_attrs": {"failure": {"kind": "failed"}}},
    "pruned at once": {"state": TrialState.PRUNED},
    "pruned with its last value": {"state": TrialState.PRUNED, "value": 0.1},
    "reports that are no numbers": {"value": 0.5, "intermediate_values": {1: math.nan, 2: math.inf, 3: -math.inf}},
    "an infinite value": {"value": math.inf},
    "steps with gaps": {"value": 0.5, "intermediate_values": {7: 0.1, 3: 0.2, 4: 0.0}},
    "a parameter of no row": {"value": 0.5, "params": {"x": 1}, "distributions": {"x": IntDistribution(1, 2)}},
    "a value outside its row": {
        "value": 0.5,
        "params": {**PARAMS, "batch_size": 1000},
        "distributions": {**SPACE, "batch_size": IntDistribution(1, 2000)},
    },
    "another distribution, a value of the row": {
        "value": 0.5,
        "params": {**PARAMS, "batch_size": 7},
        "distributions": {**SPACE, "batch_size": IntDistribution(0, 10)},
    },
    "a repeated row": {
        "value": 0.5,
        "params": {"hidden_units_0": 8, "hidden_units_2": 64},
        "distributions": {f"hidden_units_{index}": IntDistribution(8, 64, step=8) for index in (0, 2)},
    },
    "constraints": {"value": 0.5, "system_attrs": {"constraints:memory": 1.5, "constraints:x": "no number"}},
    "a table it was enqueued with": {"value": 0.5, "system_attrs": {"fixed_params": {"lr": 0.01, "x": 1}}},
    "attributes of others": {"value": 0.5, "system_attrs": {"completed_rung_0": "a", "mine": {"deep": [1, None]}}},
}
BY_HAND = {
    "an attribute that is no JSON": "UPDATE trial_user_attributes SET value_json = '{' WHERE trial_id = {}",
    "a key of control characters": "UPDATE trial_user_attributes SET key = E'a\\n\\x1f\"' WHERE key = 'seed'"
    " AND trial_id = {}",
    "a number of another type": "UPDATE trial_params SET distribution_json ="
    """ '{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.0, "high": 200.0, "log": false}}'"""
    " WHERE param_name = 'batch_size' AND trial_id = {}",
    "a constraint that is no number": "INSERT INTO trial_system_attributes (trial_id, key, value_json)"
    " VALUES ({}, 'constraints:y', 'NaN')",
    "complete without a value": "DELETE FROM trial_values WHERE trial_id = {}",
    "two values": "INSERT INTO trial_values (trial_id, objective, value, value_type) VALUES ({}, 1, 0.5, 'FINITE')",
    "a value of another type": "UPDATE trial_values SET value = NULL WHERE trial_id = {}",
    "a distribution that is none": "UPDATE trial_params SET distribution_json = '[]' WHERE trial_id = {}",
    "a number that is none": "UPDATE trial_params SET param_value = NULL WHERE trial_id = {}",
    "a choice that is none": "UPDATE trial_params SET param_value = 9 WHERE param_name = 'optimizer' AND trial_id = {}",
    "never begun": "UPDATE trials SET datetime_start = NULL WHERE trial_id = {}",
    "a moment that no calendar has": "UPDATE trials SET datetime_start = '-infinity',"
    " datetime_complete = '294275-12-31' WHERE trial_id = {}",
    "a value near the largest": "UPDATE trial_values SET value = 1e308 WHERE trial_id = {}",
    "a report that is no number": "UPDATE trial_intermediate_values SET intermediate_value = 'NaN' WHERE trial_id = {}",
    "steps from the lowest on": "UPDATE trial_intermediate_values SET step = step - 2147483648 WHERE trial_id = {}",
    "no number": "UPDATE trials SET number = NULL WHERE trial_id = {}",
    "the largest number": "UPDATE trials SET number = 2147483647 WHERE trial_id = {}",
    "a number below 0": "UPDATE trials SET number = -1 WHERE trial_id = {}",
    "the number of another": "UPDATE trials SET number = number + 1 WHERE trial_id = {}",
    "an attribute without a key": "UPDATE trial_user_attributes SET key = NULL WHERE key = 'seed' AND trial_id = {}",
    "a system attribute without a key": "UPDATE trial_system_attributes SET key = NULL WHERE trial_id = {}",
    "a number that nobody can count to": "UPDATE trial_params SET param_value = 'Infinity' WHERE trial_id = {}",
    "a parameter without a name": "UPDATE trial_params SET param_name = NULL WHERE param_name = 'lr' AND trial_id = {}",
}
LEFT_OUT = 3
"""Of BY_HAND, by their numbers."""
INTAKES = pytest.mark.parametrize("intake", [Intake(STUDY.rows), OpenIntake()], ids=["rows", "no rows"])


@pytest.fixture
def study_id(engine: Engine, database_url: str) -> int:
    """PLAIN trials, those of ODD and BY_HAND, one that runs and one that waits, beside another study's."""
    studies = [
        optuna.create_study(
            storage=database_url, study_name=name, direction="maximize", sampler=optuna.samplers.RandomSampler(seed=1)
        )
        for name in ("s", "t")
    ]
    rng = random.Random(1)
    for number in range(PLAIN + len(BY_HAND)):
        for study in studies[: 2 - number % 2]:
            study.add_trial(create_trial(**plain(rng)))
    for fields in ODD.values():
        studies[0].add_trial(create_trial(**{**WITHOUT, **fields}))
    studies[0].ask(SPACE)
    studies[0].enqueue_trial({"lr": 0.01})
    ids = [trial._trial_id for trial in studies[0].get_trials()]
    with engine.begin() as c:
        for trial_id, statement in zip(ids, BY_HAND.values(), strict=False):
            c.execute(text(statement.replace("{}", str(trial_id)).replace(":", "\\:")))
    return studies[0]._study_id


def caches(engine: Engine, study_id: int, intake: Intake) -> tuple[StudyCache, StudyCache]:
    """(the study in bulk, the study trial by trial)."""
    bulk, slow = (StudyCache(study_id, "s", (StudyDirection.MAXIMIZE,)) for _ in range(2))
    with engine.begin() as c:
        bulk.apply(queries.read_history(c, study_id, intake))
        slow.apply(intake.admit(queries.read_changes(c, study_id)))
    return bulk, slow


def by_number_and_id(trial: FrozenTrial) -> tuple[int, int]:
    return trial.number, trial._trial_id


def shown(trial: FrozenTrial) -> str:
    """Without what TPE leaves with a trial while it runs, which nobody reads afterwards."""
    plain = frozen(trial)
    plain.system_attrs = {key: value for key, value in plain.system_attrs.items() if not key.startswith(OF_TPE)}
    return repr(plain)


@INTAKES
def test_a_study_is_read_in_bulk_as_trial_by_trial(
    engine: Engine, study_id: int, monkeypatch: pytest.MonkeyPatch, intake: Intake
) -> None:
    monkeypatch.setattr("hpo.storage.history.PAGE", 9)
    monkeypatch.setattr("hpo.storage.history.BLOCK", 4)
    bulk, slow = (
        sorted(cache.get_all_trials(study_id, deepcopy=False), key=by_number_and_id)
        for cache in caches(engine, study_id, intake)
    )
    assert len(bulk) == PLAIN + len(BY_HAND) - LEFT_OUT + len(ODD) + 2
    for one, other in zip(bulk, slow, strict=True):
        assert shown(one) == shown(other)  # NaN is not equal to itself
        assert one.constraints == other.constraints
        assert list(one.params) == list(other.params)
        assert [type(value) for value in one.params.values()] == [type(value) for value in other.params.values()]
    shared = {id(trial.distributions) for trial in bulk if len(BY_HAND) <= trial.number < len(BY_HAND) + PLAIN}
    assert len(shared) == 1


def test_only_what_is_not_plain_is_read_trial_by_trial(
    engine: Engine, study_id: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []

    def read(connection: Any, study: int, after: int, also: list[int]) -> list[Any]:
        asked.extend(also)
        return []

    monkeypatch.setattr("hpo.storage.history.read_changes", read)
    with engine.begin() as c:
        found = list(queries.read_history(c, study_id, Intake(STUDY.rows)))
    assert all(isinstance(trial, FinishedTrial) for trial in found)
    assert len(asked) == len(set(asked)) == 7 + 3 + 2  # of BY_HAND, of ODD, and the unfinished


@pytest.mark.parametrize("sampler", [TPE(startup_trials=5), CmaEs(startup_trials=5)], ids=["TPE", "CmaEs"])
def test_proposals_after_bulk_are_those_after_trial_by_trial(
    engine: Engine, study_id: int, sampler: Any, tmp_path: Path
) -> None:
    told = []
    for cache in caches(engine, study_id, Intake(STUDY.rows)):
        ask_tell = AskTell(replace(STUDY, sampler=sampler), study_id, cache, tmp_path, "host", 1)
        proposals = []
        for number in range(1000, 1006):
            claim = queries.Claim(10**6 + number, number, attempt=1, checkpoint=None, fresh=True)
            proposals.append(ask_tell.sample(claim).params)
            ask_tell.tell(claim.trial_id, TrialState.COMPLETE, [0.9 + number / 1e5], {}, {})
        told.append(proposals)
    assert told[0] == told[1]

"""Plain Optuna writes into a study of ours, which its API allows. See docs/failures.md."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import TrialState, create_trial
from world import HERE, ROOT, World

NewWorld = Any

REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"optimizer": "rmsprop"}, "it gives optimizer='rmsprop', outside its row: adam | sgd"),
    ({"layers": "many"}, "it gives layers='many', outside its row: 1 .. 3"),
    ({"layers": 99}, "it gives layers=99, outside its row: 1 .. 3"),
    ({"lr": 5.0}, "it gives lr=5.0, outside its row: 0.001 .. 0.1 log"),
    ({"lr": None}, "it gives lr=None, outside its row"),
    ({"layers": True}, "it gives layers=True, outside its row"),
    ({"learning_rate": 0.01}, "it gives 'learning_rate', which is no parameter of the study"),
    ({"hidden_units_3": 16}, "it gives 'hidden_units_3', which is no parameter of the study"),
    ({"batch_size": 32}, "it gives batch_size=32, but its row is fixed to 64"),
    ({"lr": [{"deep": ["x"] * 100}]}, "outside its row"),
]
TRAINED: list[dict[str, Any]] = [
    {"layers": 2.0, "lr": 0.05},  # a browser sends numbers
    {},
    {"momentum": 0.5},
    {"hidden_units_2": 64, "layers": 3, "batch_size": 64},
]


def shared(world: World) -> optuna.Study:
    return optuna.load_study(study_name="faults", storage=optuna.storages.RDBStorage(world.direct))


def world_with_a_study(new_world: NewWorld) -> World:
    world: World = new_world(study=str(HERE / "shared_study.py"))
    world.run("--trials", "1")
    return world


def _init(world: World) -> None:
    """A study nobody has trained in yet: Optuna's storage holds later writers to the first distribution of a name."""
    command = [sys.executable, "-m", "hpo", "db", "init", "--study", world.study, "--storage", world.direct]
    subprocess.run(command, check=True, cwd=world.folder, env={**os.environ, "PYTHONPATH": str(ROOT)})


def test_what_nobody_can_train_fails_with_its_reason_and_the_rest_is_trained(new_world: NewWorld) -> None:
    world = world_with_a_study(new_world)
    for params, _ in REFUSED:
        shared(world).enqueue_trial(params)
    for params in TRAINED:
        shared(world).enqueue_trial(params)
    target = 1 + len(REFUSED) + len(TRAINED) + 3
    said = world.run("--trials", str(target))
    trials = world.trials()
    assert len(trials) == target
    for trial, (_, reason) in zip(trials[1:], REFUSED, strict=False):
        assert trial.state is TrialState.FAIL
        assert trial.user_attrs["failure"]["kind"] == "refused"
        assert reason in trial.user_attrs["failure"]["reason"]
        assert f"trial {trial.number} failed: {trial.user_attrs['failure']['reason']}" in said
    assert {trial.state for trial in trials[1 + len(REFUSED) :]} == {TrialState.COMPLETE}
    assert (trials[len(REFUSED) + 1].params["layers"], trials[len(REFUSED) + 1].params["lr"]) == (2, 0.05)
    listed = world.start("--state", "failed", command="trials").ends()
    assert "optimizer='rmsprop', outside its row" in listed
    assert re.search(rf"^refused +trial 1: {re.escape(REFUSED[0][1])}", said, re.MULTILINE)


def test_a_later_run_is_ended_by_none_of_it_and_a_study_of_refusals_only_is_no_failed_search(
    new_world: NewWorld,
) -> None:
    world = world_with_a_study(new_world)
    world.sql("UPDATE trials SET state = 'FAIL'")
    world.sql("DELETE FROM trial_values")
    for _ in range(7):
        shared(world).enqueue_trial({"optimizer": "rmsprop"})
    world.run("--trials", "8")
    assert [trial.state.name for trial in world.trials()] == ["FAIL"] * 8
    world.run("--trials", "10")
    assert [trial.state.name for trial in world.trials()] == ["FAIL"] * 8 + ["COMPLETE"] * 2


def test_trials_of_plain_optuna_with_distributions_of_their_own_end_no_search(new_world: NewWorld) -> None:
    """Asked for and never told, added as complete with other ranges, choices and values, waiting with parameters."""
    world: World = new_world(study=str(HERE / "shared_study.py"))
    _init(world)
    study = shared(world)
    study.ask()
    foreign: list[tuple[dict[str, Any], dict[str, Any]]] = [
        ({"lr": 7.0}, {"lr": FloatDistribution(1.0, 9.0)}),
        ({"optimizer": "rmsprop"}, {"optimizer": CategoricalDistribution(("adam", "sgd", "rmsprop", "lion"))}),
        ({"layers": -4}, {"layers": IntDistribution(-9, 9)}),
        ({"hidden_units_0": 5000}, {"hidden_units_0": IntDistribution(1, 9000)}),
        ({"lr": -1.0}, {"lr": FloatDistribution(-1.0, 0.0)}),
        ({"momentum": "two"}, {"momentum": CategoricalDistribution(("one", "two"))}),
    ]  # fmt: skip
    storage, study_id = study._storage, study._study_id
    for params, distributions in foreign:
        for state, values in ((TrialState.COMPLETE, [0.5]), (TrialState.RUNNING, None), (TrialState.WAITING, None)):
            storage.create_new_trial(study_id, create_trial(
                state=state, values=values, params=params, distributions=distributions))  # fmt: skip
    storage.create_new_trial(study_id, create_trial(value=0.4, system_attrs={"constraints": "no list"}))
    storage.create_new_trial(study_id, create_trial(value=0.4, system_attrs={"constraints": ["x", None]}))
    storage.create_new_trial(study_id, create_trial(value=0.4, system_attrs={"constraints:memory": {"x": 1}}))
    hostile = {"config": 5, "failure": "no", "metrics": {"val_accuracy": "x"}, "attempt": "x", "trainer_deaths": "many"}
    waiting = create_trial(
        state=TrialState.WAITING, user_attrs=hostile,
        system_attrs={"tpe:relative_params:0": "{", "tpe:relative_params:1": 4, "fixed_params": 3},
    )  # fmt: skip
    storage.create_new_trial(study_id, waiting)
    proposals = {"tpe:relative_params:0": json.dumps({"lr": "x", "layers": 99})}
    storage.create_new_trial(study_id, create_trial(state=TrialState.RUNNING, system_attrs=proposals))
    there = len(study.get_trials())
    world.start("--timeout", "3s", "--trials", str(there + 4)).ends()
    trials = world.trials()
    ours = [trial for trial in trials if "config" in trial.user_attrs and trial.user_attrs["config"] != 5]
    assert sum(trial.state is TrialState.COMPLETE for trial in ours) >= 4
    failures = [trial.user_attrs["failure"] for trial in trials if trial.state is TrialState.FAIL]
    assert len(failures) == 7
    assert {failure["kind"] for failure in failures} == {"refused"}
    for command in ("status", "best", "trials", "report"):
        world.start(command=command).ends()


@pytest.mark.parametrize("sampler", ["TPE()", "CmaEs()", "QMC()", "Random()"])
def test_two_loops_of_plain_optuna_beside_a_search_end_neither(
    new_world: NewWorld, tmp_path: Path, sampler: str
) -> None:
    """`study.optimize` with an objective of its own, twice, while we search: everything that is ours is trained."""
    file = tmp_path / "shared_study.py"
    text = (HERE / "shared_study.py").read_text()
    file.write_text(
        text.replace("TPE(startup_trials=2)", sampler).replace("import TPE", "import QMC, TPE, CmaEs, Random")
    )
    world = new_world(study=str(file), fake={"epoch_seconds": 0.02})
    world.run("--trials", "1")
    process = world.start("--trials", "16")
    study = shared(world)

    def objective(trial: optuna.Trial) -> float:
        trial.set_user_attr("metrics", "mine")
        trial.set_constraint("mine", 1.0)
        if trial.number % 3 == 0:
            raise optuna.TrialPruned
        return trial.suggest_float("lr", 0.001, 0.1, log=True) * trial.suggest_int("mine", 1, 9)

    study.optimize(objective, n_trials=5, n_jobs=2)
    process.ends()
    trials = world.trials()
    # The other loops' trials count: when theirs makes sixteen, one of ours may be under way, and is put back.
    assert sum(trial.state.is_finished() for trial in trials) >= 16
    assert all(trial.state.is_finished() or trial.state is TrialState.WAITING for trial in trials)
    assert sum("config" in trial.user_attrs for trial in trials) >= 10

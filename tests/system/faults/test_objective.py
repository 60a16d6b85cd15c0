"""An Optuna objective under hpo: unchanged, through every kind of death, whatever it does wrong. docs/failures.md."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import pytest
from odd_objectives import CASES
from optuna.trial import TrialState
from own_server import OwnServer
from world import World, until

HERE = Path(__file__).parent
NewWorld = Any


def script(new_world: NewWorld, **fields: Any) -> World:
    study = f"{HERE / 'optuna_script.py'}:objective"
    world: World = new_world(study=study, name="optuna_script", fake=None, lease_seconds=4.0, **fields)
    return world


def reports(world: World) -> int:
    if world.sql("SELECT to_regclass('trial_intermediate_values')")[0][0] is None:
        return 0  # no tables yet
    return int(world.sql("SELECT count(*) FROM trial_intermediate_values")[0][0])


def check_script(world: World, trials: int) -> None:
    """Every trial ended, as the script ends them, with the rows that its own values call for and no others."""
    for trial in world.check(finished=trials):
        names = {"layers", "lr", "optimizer", *(f"units_{index}" for index in range(trial.params["layers"]))}
        assert set(trial.params) == names | ({"momentum"} if trial.params["optimizer"] == "sgd" else set())
        assert trial.state.name in ("COMPLETE", "PRUNED")
        if trial.state.name == "COMPLETE":
            assert sorted(trial.intermediate_values) == list(range(6))
            assert trial.value == trial.intermediate_values[5]
            assert trial.user_attrs["weights"] > 0


def test_a_script_for_optuna_runs_unchanged_through_every_death(new_world: NewWorld, own_server: OwnServer) -> None:
    """SIGKILL for a trainer, for PostgreSQL and for the coordinator; the same command then ends with exact --trials."""
    world = script(new_world, url=own_server.url)
    process = world.start("--trials", "8", "--direction", "maximize")
    until(lambda: reports(world) >= 2, "two reports")
    os.kill(process.trainers()[0].pid, signal.SIGKILL)
    process.says("which will be resumed")
    own_server.stop()
    process.says("database away")
    own_server.start()
    seen = reports(world)
    until(lambda: reports(world) > seen + 2, "reports after the database was back")
    process.kill()
    output = world.run("--trials", "8", "--direction", "maximize")
    check_script(world, 8)
    assert "all trials are done" in output


def test_a_deadline_puts_trials_back_and_the_next_run_gives_them_the_same_values(new_world: NewWorld) -> None:
    world = script(new_world)
    process = world.start("--trials", "4", "--direction", "maximize")
    until(lambda: reports(world) >= 1, "a report")
    before = {trial.number: trial.params for trial in world.trials() if trial.intermediate_values}
    process.send(signal.SIGINT)
    process.ends(130)
    assert {trial.state.name for trial in world.trials()} & {"RUNNING", "FAIL"} == set()
    world.run("--trials", "4", "--direction", "maximize")
    check_script(world, 4)
    for number, params in before.items():
        after = world.trial(number).params
        assert {name: after[name] for name in params} == params


@pytest.fixture(scope="module")
def expected() -> dict[int, Any]:
    return dict(enumerate(CASES.values()))


def test_whatever_an_objective_does_ends_its_trial_alone(new_world: NewWorld, expected: dict[int, Any]) -> None:
    """Each has one clear outcome, the next trial finds the process as it was, and `study.stop` ends the run."""
    world: World = new_world(study=f"{HERE / 'odd_objectives.py'}:objective", name="odd_objectives", fake=None)
    # Every bug is another one: only the same again and again would end the run.
    output = world.run("--trials", "100", "--direction", "maximize", "--trainers", "1", "--pruner", "none")
    assert "the objective called study.stop()" in output
    waiting = sum(trial.state is TrialState.WAITING for trial in world.trials())  # asked ahead, and put back
    trials = {trial.number: trial for trial in world.check(finished=len(expected), unfinished=waiting)}
    for (number, wanted), case in zip(expected.items(), CASES, strict=True):
        trial = trials[number]
        if isinstance(wanted, str):
            assert trial.user_attrs["failure"]["reason"].endswith(wanted), (case, trial.user_attrs["failure"])
            assert trial.state.name == ("PRUNED" if wanted == "it returned nan" else "FAIL")
        else:
            assert trial.state.name == "COMPLETE", (case, trial.user_attrs.get("failure"))
            assert wanted is None or trial.value == wanted
    attributes = {case.__name__: trials[number] for number, case in enumerate(CASES)}
    assert attributes["twice"].intermediate_values == {1: 0.3, 0: 0.5}
    assert attributes["thread"].intermediate_values == {3: 0.9}
    assert attributes["past"].constraints == {"size": -1.0}
    assert attributes["past"].user_attrs["config"] == {"a": 1}
    assert sum(name.startswith("artifacts:") for name in attributes["artifact"].system_attrs) == 1
    line = (HERE / "odd_objectives.py").read_text().splitlines().index('    raise ZeroDivisionError("by the user")') + 1
    assert attributes["raises"].user_attrs["failure"]["where"].endswith(f"odd_objectives.py:{line}")

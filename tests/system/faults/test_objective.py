"""Training of one's own under hpo, by each door, through every kind of death. docs/failures.md.

The same script stands here as an Optuna objective, unchanged, and as a function with resume.
"""

from __future__ import annotations

import json
import os
import signal
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from odd_objectives import CASES
from optuna.trial import TrialState
from own_server import OwnServer
from world import World, until

from hpo.results.evaluation import as_document

HERE = Path(__file__).parent
NewWorld = Any


@dataclass(frozen=True)
class Door:
    """How the script comes in. metric: of its reports; steps: of a whole trial, as Optuna counts them."""

    study: str
    name: str
    options: tuple[str, ...]
    steps: list[int]

    def world(self, new_world: NewWorld, **fields: Any) -> World:
        world: World = new_world(study=str(HERE / self.study), name=self.name, fake=None, lease_seconds=4.0, **fields)
        return world

    def check(self, world: World, trials: int) -> None:
        """Every trial ended, as the script ends them, with the rows that its own values call for and no others."""
        for trial in world.check(finished=trials):
            names = {"layers", "lr", "optimizer", *(f"units_{index}" for index in range(trial.params["layers"]))}
            assert set(trial.params) == names | ({"momentum"} if trial.params["optimizer"] == "sgd" else set())
            assert trial.state.name in ("COMPLETE", "PRUNED")
            if trial.state.name == "COMPLETE":
                assert sorted(trial.intermediate_values) == self.steps
                assert trial.value == trial.intermediate_values[self.steps[-1]]
                assert trial.user_attrs["weights"] > 0


OBJECTIVE = Door("optuna_script.py:objective", "optuna_script", ("--direction", "maximize"), list(range(6)))
TRAIN = Door("train_script.py", "train_script", (), list(range(1, 7)))
DOORS = pytest.mark.parametrize("door", [OBJECTIVE, TRAIN], ids=["objective", "train"])


def reports(world: World) -> int:
    if world.sql("SELECT to_regclass('trial_intermediate_values')")[0][0] is None:
        return 0  # no tables yet
    return int(world.sql("SELECT count(*) FROM trial_intermediate_values")[0][0])


@DOORS
def test_the_script_goes_through_every_death(new_world: NewWorld, own_server: OwnServer, door: Door) -> None:
    """SIGKILL for a trainer, for PostgreSQL and for the coordinator; the same command then ends with exact --trials."""
    world = door.world(new_world, url=own_server.url)
    process = world.start("--trials", "8", *door.options)
    until(lambda: reports(world) >= 2, "two reports")
    os.kill(process.trainers()[0].pid, signal.SIGKILL)
    process.says("which will be resumed")
    own_server.stop()
    process.says("database away")
    own_server.start()
    seen = reports(world)
    until(lambda: reports(world) > seen + 2, "reports after the database was back")
    process.kill()
    output = world.run("--trials", "8", *door.options)
    door.check(world, 8)
    assert "all trials are done" in output


@DOORS
def test_a_deadline_puts_trials_back_and_the_next_run_gives_them_the_same_values(
    new_world: NewWorld, door: Door
) -> None:
    world = door.world(new_world)
    process = world.start("--trials", "4", *door.options)
    until(lambda: reports(world) >= 1, "a report")
    before = {trial.number: trial.params for trial in world.trials() if trial.intermediate_values}
    process.send(signal.SIGINT)
    process.ends(130)
    assert {trial.state.name for trial in world.trials()} & {"RUNNING", "FAIL"} == set()
    world.run("--trials", "4", *door.options)
    door.check(world, 4)
    for number, params in before.items():
        after = world.trial(number).params
        assert {name: after[name] for name in params} == params
    if door is TRAIN:  # bit for bit the trial that nobody interrupted
        for number in before:
            world.run("--trial", str(number), command="reproduce")


@pytest.fixture(scope="module")
def expected() -> dict[int, Any]:
    return dict(enumerate(CASES.values()))


def test_whatever_an_objective_does_ends_its_trial_alone(new_world: NewWorld, expected: dict[int, Any]) -> None:
    """Each has one clear outcome, the next trial finds the process as it was, and `study.stop` ends the run."""
    world: World = new_world(study=f"{HERE / 'odd_objectives.py'}:objective", name="odd_objectives", fake=None)
    # Every bug is another one: only the same again and again would end the run.
    output = world.run("--trials", "100", "--direction", "maximize", "--trainers", "1", "--pruner", "none")
    assert "the objective called study.stop()" in output
    assert "trial 0 failed" in output
    assert "that was the baseline" not in output, "a function has none unless it is given one"
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


def test_a_function_of_a_run_is_checked_and_its_winner_evaluated(new_world: NewWorld) -> None:
    world = TRAIN.world(new_world)
    checked = world.run("--device", "cpu", command="check")
    assert "to its first report" in checked
    world.run("--trials", "2")
    output = world.run("--seeds", "2", "--top", "1", "--device", "cpu", command="evaluate")
    assert "trained for good with 2 fresh seeds each, by final(run)" in output
    folder = world.folder / "reports" / "train_script"
    document = json.loads((folder / "evaluation.json").read_text())
    assert document["metric"] == "test_macro_f1"
    assert document["search_rerun"]["same"] is True
    rows = document["configurations"]
    assert all(len(row["runs"]) == 2 and row["score"]["n"] == 2 for row in rows)
    assert as_document(document) == document
    phases = [line.partition(",")[0] for line in (folder / "winner" / "metrics.csv").read_text().splitlines()]
    assert phases == ["phase", *["search"] * 6, *["final"] * 6]

"""A study whose trials wait in turn (FreezeThaw), and what goes wrong in it: no epoch is lost, and it ends as any."""

from __future__ import annotations

import shutil
import signal
from pathlib import Path
from typing import Any

import pytest
from fake_trainer import metric
from world import HERE, World, until

NewWorld = Any
STUDY = str(HERE / "frozen_study.py")
EPOCHS = 8


@pytest.fixture
def world(new_world: NewWorld) -> World:
    made: World = new_world(study=STUDY)
    return made


def paused(world: World) -> list[int]:
    """Numbers of trials that have begun and wait."""
    query = (
        "SELECT DISTINCT t.number FROM trials t JOIN trial_intermediate_values v USING (trial_id)"
        " WHERE t.state = 'WAITING' ORDER BY t.number"
    )
    return [row[0] for row in world.sql(query)]


def check_ended(world: World, trials: int, *, on_one_host: bool = True) -> None:
    """As stock Optuna reads it: so many trials, each complete or pruned with its last value, and none left behind.

    on_one_host: whether no other host may have ended trials whose checkpoints it could not reach
    """
    found = world.trials()
    assert [trial.number for trial in found] == list(range(trials))
    assert {trial.state.name for trial in found} <= {"COMPLETE", "PRUNED"}
    assert world.sql("SELECT * FROM hpo_leases WHERE worker_id IS NOT NULL") == []
    for trial in found:
        steps = sorted(trial.intermediate_values)
        assert steps == list(range(1, len(steps) + 1))
        assert all(value == metric(trial.params, step) for step, value in trial.intermediate_values.items())
        assert trial.value == trial.intermediate_values[steps[-1]]
        assert (trial.state.name == "COMPLETE") == (len(steps) == EPOCHS)
        decisions = trial.user_attrs["decisions"]
        assert [row["after"] for row in decisions] == sorted(row["after"] for row in decisions)
        assert all(row["after"] < row["until"] for row in decisions)
        # A coordinator that is killed may not have heard of the last epoch, which then is told again.
        assert decisions[-1]["until"] >= len(steps) - 1
    best = max(found, key=lambda trial: max(trial.intermediate_values.values()))
    assert best.state.name == "COMPLETE", "the best goes to its end"
    assert found[0].state.name == "COMPLETE", "and so does the baseline"
    assert not on_one_host or list((world.folder / "checkpoints").glob("*/*")) == []


def test_an_exact_number_of_trials_begins_and_ends(world: World) -> None:
    """Paused ones go on while they may become the best; then the others are pruned."""
    output = world.run("--trials", "12")
    check_ended(world, 12)
    assert "paused trials will not go on: pruned" in output
    assert world.log("waits"), "some waited"
    begun = {line.number for line in world.log("begin")}
    assert any(len(world.log("begin", number)) > 1 for number in begun), "and went on"


def test_one_trial_is_the_baseline(world: World) -> None:
    world.run("--trials", "1")
    check_ended(world, 1)


def test_at_the_deadline_no_trial_is_left_waiting(world: World) -> None:
    """Those that would wait for ever are pruned; a trial that has not begun waits for the next run, as ever."""
    process = world.start()
    until(lambda: len(paused(world)) >= 2, "paused trials")
    process.send(signal.SIGTERM)
    process.ends(143)
    waited = paused(world)
    world.run("--timeout", "5s")
    states = {trial.number: trial.state.name for trial in world.trials() if trial.intermediate_values}
    assert set(states.values()) <= {"COMPLETE", "PRUNED"}
    assert set(waited) <= states.keys()
    assert world.sql("SELECT * FROM hpo_leases WHERE worker_id IS NOT NULL") == []


@pytest.mark.parametrize("how", ["coordinator killed", "SIGTERM", "trainers killed"])
def test_interrupted_it_goes_on_where_every_trial_stood(world: World, how: str) -> None:
    process = world.start("--trials", "12")
    until(lambda: len(paused(world)) >= 2, "paused trials")
    if how == "trainers killed":
        for child in process.trainers():
            child.kill()
    else:
        if how == "SIGTERM":
            process.send(signal.SIGTERM)
            process.ends(143)
        else:
            process.kill()
        assert len(paused(world)) >= 2, "they wait for the next run"
        process = world.start("--trials", "12")
    process.ends()
    check_ended(world, 12)
    for line in world.log("begin"):
        earlier = [one.epoch for one in world.log("epoch", line.number) if one.time < line.time]
        assert line.epoch == max(earlier, default=0), "each went on from its last epoch"


def test_checkpoints_that_are_gone_cost_their_epochs_and_no_trial(world: World) -> None:
    process = world.start("--trials", "12")
    until(lambda: len(paused(world)) >= 2, "paused trials")
    process.send(signal.SIGTERM)
    process.ends(143)
    shutil.rmtree(world.folder / "checkpoints")
    world.run("--trials", "12")
    check_ended(world, 12)


def test_two_hosts_share_the_trials_and_each_goes_on_with_its_own(world: World, tmp_path: Path) -> None:
    """Without a folder that both see, a paused trial stays with the host that has its checkpoint."""
    first = world.start("--trials", "16", OTHER_HOST="a")
    world.reached(1)
    second = world.start(command="worker", OTHER_HOST="b", HPO_CHECKPOINT_DIR=str(tmp_path / "other"))
    first.ends()
    second.ends()
    check_ended(world, 16, on_one_host=False)
    for line in world.log("begin"):
        earlier = [one.epoch for one in world.log("epoch", line.number) if one.time < line.time]
        assert line.epoch == max(earlier, default=0), "it began again on the other host"

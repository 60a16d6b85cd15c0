"""A trial goes wrong: what becomes of it, of the next one, and what the user is told. See docs/failures.md."""

from __future__ import annotations

import json
import signal
from collections import Counter
from typing import Any

import pytest
from world import until

NewWorld = Any


def test_a_diverged_trial_is_pruned_with_a_constraint_and_the_next_one_runs(new_world: NewWorld) -> None:
    """PRUNED with `finite` > 0 and the reason, so that the sampler learns."""
    world = new_world(fake={"trials": {"1": "diverged"}})
    world.run("--trials", "4")
    world.check(finished=4)
    trial = world.trial(1)
    assert trial.state.name == "PRUNED"
    assert trial.constraints == {"finite": 1.0}
    assert trial.user_attrs["failure"] == {"kind": "diverged", "reason": "train_loss is nan in epoch 2"}
    assert Counter(trial.state.name for trial in world.trials()) == {"COMPLETE": 3, "PRUNED": 1}


def test_out_of_memory_is_pruned_with_a_constraint_and_three_in_a_row_are_said(new_world: NewWorld) -> None:
    """PRUNED with `memory` > 0 and the shapes; the same trainer goes on; the user is told at the third."""
    world = new_world(fake={"trials": dict.fromkeys("012", "out_of_memory")})
    output = world.run("--trials", "4", "--trainers", "1")
    world.check(finished=4)
    for trial in world.trials()[:3]:
        assert trial.state.name == "PRUNED"
        assert trial.constraints == {"memory": 1.0}
        assert trial.user_attrs["failure"]["reason"] == "batch [64, 1, 8, 8]"
    assert len({line.pid for line in world.log("begin")}) == 1
    assert output.count("trials in a row ran out of memory") == 1
    assert "3 trials in a row ran out of memory (batch [64, 1, 8, 8])" in output


def test_a_bug_fails_its_trial_with_type_message_and_traceback(new_world: NewWorld) -> None:
    """FAIL with the words of the error, and the study goes on."""
    world = new_world(fake={"trials": {"0": "failed", "2": "failed"}})
    world.run("--trials", "4")
    world.check(finished=4)
    failure = world.trial(0).user_attrs["failure"]
    assert (failure["kind"], failure["reason"]) == ("failed", "ValueError: 7 is not 8")
    assert failure["traceback"][1:] == ['  File "model.py", line 7', "ValueError: 7 is not 8"]
    assert Counter(trial.state.name for trial in world.trials()) == {"COMPLETE": 2, "FAIL": 2}


def test_the_same_bug_five_times_in_a_row_ends_the_run_with_70_and_that_bug(new_world: NewWorld) -> None:
    """Exit 70, the error named with its traceback, nothing left running; mended, the same command goes on."""
    world = new_world(fake={"every": "failed"})
    output = world.run("--trials", "20", "--trainers", "1", code=70)
    assert "5 trials in a row failed with the same error: ValueError: 7 is not 8" in output
    assert 'File "model.py", line 7' in output
    assert "run again with --retry-failed" in output
    states = Counter(trial.state.name for trial in world.trials())
    assert (states["FAIL"], states["RUNNING"]) == (5, 0)
    world.check(finished=5, unfinished=states["WAITING"])
    world.fake = {**world.fake, "every": ""}
    world.run("--trials", "7")
    world.check(finished=7)


@pytest.mark.parametrize("where", ["", "my_models.py:12"])
def test_an_error_whose_message_has_the_trials_own_numbers_is_the_same_error(new_world: NewWorld, where: str) -> None:
    """Shapes differ from trial to trial; the line of the user's code does not, nor the words between the numbers."""
    world = new_world(fake={"every": "shapes", "where": where})
    output = world.run("--trials", "20", "--trainers", "1", code=70)
    assert "5 trials in a row failed with the same error: RuntimeError: mat1 and mat2" in output
    assert (f"(64x7 and 32x10) ({where})" if where else "(64x7 and 32x10)\n") in output
    assert output.count("hpo trials --study faults --state failed") == 1


def test_a_run_in_which_every_trial_failed_ends_with_70_and_the_commonest_error(new_world: NewWorld) -> None:
    """Fewer than five, or not the same one in a row: still no search to be content with."""
    world = new_world(fake={"trials": {"0": "failed", "1": "shapes", "2": "shapes"}, "where": "my_models.py:12"})
    output = world.run("--trials", "3", "--trainers", "1", code=70)
    assert "every finished trial failed: 3, 2 of them with RuntimeError: mat1 and mat2" in output
    assert "(my_models.py:12)" in output
    assert "run again with --retry-failed" in output, "without it the same command would end the same way"
    world.check(finished=3)
    world.run("--trials", "4", "--trainers", "1")


@pytest.mark.parametrize("death", ["die:SIGKILL", "die:SIGSEGV", "die:exit"])
def test_a_trial_whose_trainer_dies_is_resumed_on_a_fresh_one(new_world: NewWorld, death: str) -> None:
    """A fresh trainer within 5 s, resumed from its last epoch elsewhere, counted once, its neighbours unharmed."""
    world = new_world(fake={"trials": {"1": death}})
    world.hold.write_text("2")
    process = world.start("--trials", "4")
    [died] = until(lambda: world.log(death), f"trial 1 to die\n{process.output}")
    [fresh] = until(lambda: [line for line in world.log("ready") if line.time > died.time], "a fresh trainer")
    assert fresh.time - died.time < 5 + 5  # the 5 s of an idle machine, and some for this one
    world.hold.unlink()
    output = process.ends()
    world.check(finished=4)
    begun = world.log("begin", 1)
    assert [line.epoch for line in begun] == [0, 1]
    assert begun[0].pid != begun[1].pid
    assert world.attempts() == {0: 1, 1: 2, 2: 1, 3: 1}
    assert {"die:SIGKILL": "SIGKILL", "die:SIGSEGV": "SIGSEGV", "die:exit": "exit code 3"}[death] in output
    assert "under trial 1, which will be resumed" in output


def test_a_trial_that_kills_every_trainer_is_given_up_after_three_attempts(new_world: NewWorld) -> None:
    """FAIL that says how its trainers ended; the other trials complete."""
    world = new_world(fake={"trials": {"1": "!die:SIGKILL"}})
    world.run("--trials", "6")
    world.check(finished=6)
    failure = world.trial(1).user_attrs["failure"]
    assert failure["kind"] == "attempts"
    assert "SIGKILL" in failure["reason"]
    assert len(world.log("die:SIGKILL")) == 3
    assert Counter(trial.state.name for trial in world.trials()) == {"COMPLETE": 5, "FAIL": 1}


def test_hosts_that_were_lost_do_not_use_up_what_a_trial_may_lose_by_its_trainers(new_world: NewWorld) -> None:
    """Two hosts vanished under it; then its trainers die three times, not once, before it is given up."""
    world = new_world(fake={"trials": {"1": "!die:SIGKILL"}})
    world.hold.write_text("1")
    first = world.start("--trials", "6")
    world.reached(1, number=1)
    first.send(signal.SIGTERM)
    first.ends(143)
    world.sql("UPDATE hpo_leases l SET attempt = 3 FROM trials t WHERE t.trial_id = l.trial_id AND t.number = 1")
    world.hold.unlink()
    world.run("--trials", "6")
    world.check(finished=6)
    assert len(world.log("die:SIGKILL")) == 3
    assert "in 3 of 5 attempts" in world.trial(1).user_attrs["failure"]["reason"]


def test_a_sick_slot_is_quarantined_and_its_trials_run_elsewhere(new_world: NewWorld, tmp_path: Any) -> None:
    """Three trainers lost in a row on one slot: it is left alone and `hpo status` shows it; no trial is the worse."""
    world = new_world(fake={"sick": str(tmp_path / "sick")})
    world.hold.touch()
    process = world.start("--trials", "8")
    process.says(" of 2) left alone: 3 trainers lost in a row")

    def shown() -> list[str]:
        status = json.loads(world.start("--json", command="status").ends())
        return [slot["state"] for worker in status["workers"] for slot in worker["slots"]]

    until(lambda: "quarantined" in shown(), "a quarantined slot in hpo status")
    world.hold.unlink()
    process.ends()
    world.check(finished=8)
    assert all(trial.state.name == "COMPLETE" for trial in world.trials())
    assert len({line.number for line in world.log("sick")}) == 3, "a trial goes elsewhere after its first death there"


def test_a_host_without_a_working_slot_says_so_and_leaves_its_trials(new_world: NewWorld) -> None:
    """Exit 5 with the device named; the trials wait for a host that works."""
    world = new_world(fake={"all_sick": True})
    output = world.run("--trials", "2", "--trainers", "1", code=5)
    assert "every trainer on cpu ended again and again" in output
    assert "such as with exit code 9" in output
    assert "os._exit" in output, "a device ends nothing with an exit code: the study's code does"
    assert "hpo doctor" in output
    states = Counter(trial.state.name for trial in world.trials())
    assert states["RUNNING"] == 0
    counted = sum(attempt - 1 for attempt in world.attempts().values())
    assert (len(world.log("sick")), counted) == (3, 2), "the death that condemned the device is none of the trial's"
    del world.fake["all_sick"]
    world.run("--trials", "2")
    world.check(finished=2)

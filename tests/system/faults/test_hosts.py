"""A host goes away, comes back, or is told to stop. See docs/failures.md."""

from __future__ import annotations

import os
import pty
import select
import signal
import threading
from typing import Any

import optuna
import psutil
import pytest
from optuna.trial import TrialState
from world import World, until

from hpo.storage.embedded.server import Server

NewWorld = Any


def gone(pid: int) -> bool:
    return not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


def in_epoch(world: World, epoch: int, **environ: str) -> Any:
    """An `hpo run` of two trials whose trials have finished `epoch` epochs and are held there."""
    world.hold.write_text(str(epoch))
    process = world.start("--trials", "2", **environ)
    for number in (0, 1):
        world.reached(epoch, number)
    return process


def fell_asleep(world: World, pid: int) -> bool:
    """SIGSTOP, unless that would be in mid-transaction: its locks would keep what another host is to take."""
    os.kill(pid, signal.SIGSTOP)
    if not world.sql("SELECT 1 FROM pg_stat_activity WHERE application_name = 'hpo' AND xact_start IS NOT NULL"):
        return True
    os.kill(pid, signal.SIGCONT)
    return False


def let_go(world: World) -> None:
    world.hold.unlink(missing_ok=True)


def test_a_killed_coordinator_is_followed_by_the_same_command_at_once(new_world: NewWorld) -> None:
    """SIGKILL: its trainers leave; `hpo run` takes its own trials first, under their numbers, whatever their leases."""
    world = new_world(fake={"epoch_seconds": 0.3}, lease_seconds=600.0)
    process = in_epoch(world, 1)
    trainers = [child.pid for child in process.trainers()]
    assert len(trainers) == 2
    process.kill()
    until(lambda: all(gone(pid) for pid in trainers), "the trainers of a killed coordinator to leave", 10)
    assert [trial.state.name for trial in world.trials()].count("RUNNING") >= 2
    let_go(world)
    world.run("--trials", "2")
    world.check(finished=2)
    for number in (0, 1):
        first, second = world.log("begin", number)
        assert (first.epoch, second.epoch >= 1) == (0, True)
        epochs = [line.epoch for line in world.log("epoch", number)]
        assert epochs == [1, 2, 3, 4], "no epoch is trained twice"


def test_a_lost_host_is_followed_by_any_other_when_its_leases_run_out(new_world: NewWorld) -> None:
    """Another machine cannot see that the process is gone: it waits for the lease and a grace, then goes on."""
    world = new_world(fake={"epoch_seconds": 0.3})
    in_epoch(world, 1, OTHER_HOST="lost").kill()
    let_go(world)
    world.run("--trials", "2", OTHER_HOST="other")
    world.check(finished=2)
    assert {trial.user_attrs["host"] for trial in world.trials()} == {"other"}
    for number in (0, 1):
        assert [line.epoch for line in world.log("epoch", number)] == [1, 2, 3, 4]
    assert set(world.attempts().values()) == {2}


def test_a_host_that_was_asleep_drops_what_another_has_taken(new_world: NewWorld) -> None:
    """SIGSTOP for longer than the lease: the other host's result stands, counted once; the sleeper goes on."""
    world = new_world(fake={"epoch_seconds": 0.3})
    sleeper = in_epoch(world, 1, OTHER_HOST="sleeper")
    trainers = [child.pid for child in sleeper.trainers()]
    until(lambda: fell_asleep(world, sleeper.process.pid), "the host to fall asleep between two transactions")
    for pid in trainers:
        os.kill(pid, signal.SIGSTOP)
    let_go(world)
    other = world.start(command="worker", OTHER_HOST="other")
    until(lambda: len(world.log("begin")) >= 3, "the other host to take a trial")
    world.hold.write_text("3")
    for pid in (sleeper.process.pid, *trainers):
        os.kill(pid, signal.SIGCONT)
    sleeper.says("ended or taken from outside; stopped here")
    let_go(world)
    other.ends()
    sleeper.ends()
    world.check(finished=2)
    assert any(trial.user_attrs["host"] == "other" for trial in world.trials())


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130), (signal.SIGHUP, 129)])
def test_a_signal_puts_every_trial_down_within_8_seconds(new_world: NewWorld, number: int, code: int) -> None:
    """Gone in 8 s with 143, 130 or 129, every trial waiting, no process left; the same command resumes."""
    world = new_world(fake={"epoch_seconds": 0.3})
    process = in_epoch(world, 2)
    trainers = [child.pid for child in process.trainers()]
    process.send(number)
    process.ends(code, seconds=8)
    assert all(gone(pid) for pid in trainers)
    assert {line.number for line in world.log("stopped")} >= {0, 1}, "each trainer had the time to put its trial down"
    waiting = len(world.trials())
    world.check(finished=0, unfinished=waiting)
    assert world.attempts()[0] == 1, "being told to stop is no failed attempt"
    let_go(world)
    world.run("--trials", "2")
    world.check(finished=2, unfinished=max(0, waiting - 2))
    assert [line.epoch for line in world.log("epoch", 0)] == [1, 2, 3, 4]


def test_a_terminal_that_closes_leaves_no_trial_running_and_no_server(new_world: NewWorld) -> None:
    """A dropped connection: nobody reads any more, and what was started is put down and stopped all the same."""
    world = new_world(url="", fake={"epoch_seconds": 0.3})
    ours, theirs = pty.openpty()
    world.terminal = theirs
    watching = threading.Event()
    screen = threading.Thread(target=_watch, args=(ours, watching), daemon=True)
    screen.start()
    process = in_epoch(world, 2)
    watching.set()
    screen.join()
    os.close(theirs)
    os.close(ours)
    assert process.process.wait(timeout=12) == 129
    assert not Server(world.folder / "home" / "postgres").answers()
    stopped = {line.number for line in world.log("stopped")}
    assert stopped >= {0, 1}


def _watch(screen: int, until_then: threading.Event) -> None:
    """Read what is shown, or its writer would wait; never blocked in it, as that would keep the terminal open."""
    while not until_then.is_set():
        if select.select([screen], [], [], 0.05)[0]:
            os.read(screen, 65536)


def test_under_nohup_a_closed_terminal_is_nothing(new_world: NewWorld) -> None:
    """Who started it said that it is to go on."""
    world = new_world()
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        process = in_epoch(world, 2)
    finally:
        signal.signal(signal.SIGHUP, before)
    process.send(signal.SIGHUP)
    let_go(world)
    process.ends()
    world.check(finished=2)


def test_a_second_signal_is_immediate_and_leaves_no_process(new_world: NewWorld) -> None:
    """Even with trainers that hear nothing: gone at once, and the trainers with it; nothing is lost."""
    world = new_world(fake={"epoch_seconds": 0.3, "every": "deaf"})
    process = in_epoch(world, 1)
    trainers = [child.pid for child in process.trainers()]
    process.send(signal.SIGINT)
    until(lambda: {line.pid for line in world.log("told")} >= set(trainers), "both trainers to be told to stop")
    process.send(signal.SIGINT)
    process.ends(130, seconds=2.5)
    running = [trial.state.name for trial in world.trials()].count("RUNNING")
    assert running >= 2, "it waited for its trainers and put their trials down"
    until(lambda: all(gone(pid) for pid in trainers), "the trainers to leave", 10)
    let_go(world)
    world.run("--trials", "2")
    world.check(finished=2)


def test_trainers_that_hear_nothing_do_not_keep_a_process_that_is_to_leave(new_world: NewWorld) -> None:
    """One SIGTERM: gone in 8 s and the trainers with it, every trial waiting without an attempt counted."""
    world = new_world(fake={"epoch_seconds": 0.3, "every": "deaf"})
    process = in_epoch(world, 1)
    trainers = [child.pid for child in process.trainers()]
    process.send(signal.SIGTERM)
    process.ends(143, seconds=8)
    assert all(gone(pid) for pid in trainers)
    world.check(finished=0, unfinished=len(world.trials()))
    assert set(world.attempts().values()) == {1}


@pytest.mark.parametrize(("state", "values"), [(TrialState.FAIL, None), (TrialState.COMPLETE, [0.125])])
def test_what_the_user_says_of_a_running_trial_stands(new_world: NewWorld, state: TrialState, values: Any) -> None:
    """Told from outside, as optuna-dashboard does: the trainer stops within an epoch, the run goes on."""
    world = new_world(fake={"epoch_seconds": 0.3})
    process = in_epoch(world, 1)
    storage = optuna.storages.RDBStorage(world.direct)
    storage.set_trial_state_values(world.trial(0)._trial_id, state, values)
    process.says("trial 0: it was ended or taken from outside; stopped here")
    until(lambda: world.log("stopped", 0), "the trainer to stop")
    let_go(world)
    process.ends()
    assert (world.trial(0).state, world.trial(0).values) == (state, values)
    assert world.trial(1).state == TrialState.COMPLETE
    assert max(line.epoch for line in world.log("epoch", 0)) < 4
    assert world.sql("SELECT 1 FROM hpo_leases WHERE worker_id IS NOT NULL") == []


def test_a_study_deleted_while_it_runs_ends_the_run_and_says_so(new_world: NewWorld) -> None:
    """Exit 2 with the study named, and no trainer left behind."""
    world = new_world(fake={"epoch_seconds": 0.3})
    process = in_epoch(world, 1)
    trainers = [child.pid for child in process.trainers()]
    written = "SELECT count(*) FROM trial_intermediate_values"  # a row that comes while Optuna deletes would stop it
    until(lambda: world.sql(written)[0][0] == 2, "both epochs to be written")
    optuna.delete_study(study_name="faults", storage=world.direct)
    assert 'study "faults" was deleted while it ran' in process.ends(2)
    assert all(gone(pid) for pid in trainers)
    assert world.sql("SELECT 1 FROM trials") == []


def test_clocks_that_are_wrong_change_nothing(new_world: NewWorld) -> None:
    """Two hosts a day apart share a study and its deadline: no lease is taken, and times are the database's."""
    world = new_world(lease_seconds=20.0)
    world.hold.write_text("1")
    run = world.start("--trials", "8", "--timeout", "10m", OTHER_HOST="ahead", CLOCK="86400")
    world.reached(1)
    worker = world.start(command="worker", OTHER_HOST="behind", CLOCK="-86400")
    until(lambda: len(world.log("epoch")) == 4, "both hosts to train")
    let_go(world)
    run.ends()
    worker.ends()
    world.check(finished=8)
    assert set(world.attempts().values()) == {1}
    assert {trial.user_attrs["host"] for trial in world.trials()} == {"ahead", "behind"}
    [(now,)] = world.sql("SELECT now() AT TIME ZONE 'UTC'")
    stored = world.sql("SELECT datetime_start, datetime_complete FROM trials")
    assert all(abs((now - when).total_seconds()) < 600 for row in stored for when in row)


def test_a_second_run_leaves_the_first_its_budget_and_what_it_adds_is_said_on_both_screens(
    new_world: NewWorld,
) -> None:
    """A shorter time and fewer trials end the newcomer alone; more trials count for both."""
    world = new_world(fake={"epoch_seconds": 0.1}, lease_seconds=20.0)
    world.run("--trials", "1", "--trainers", "1")
    world.hold.write_text("1")
    first = world.start("--trials", "4", "--timeout", "10m", "--trainers", "1")
    world.reached(1, number=1)
    brief = world.start("--timeout", "3s", "--trainers", "1")
    brief.says("this one joins it")
    assert "time is up" in brief.ends()
    few = world.start("--trials", "1", "--trainers", "1")
    few.says("and leaves after 1 trial in all, by its own limit")
    assert "all trials are done" in few.ends()
    more = world.start("--trials", "6", "--trainers", "1")
    more.says("for 6 trials in all")
    first.says("another process changed the budget: now until")
    world.hold.unlink()
    assert "all trials are done" in first.ends()
    assert "all trials are done" in more.ends()
    world.check(finished=6)


OWN_MODEL = """
from hpo import Float, NoPruner, Random, Study
from hpo.models import Model

study = Study(name="faults", dataset="digits", model=Model("own_net:build"), epochs=4,
    space={"batch_size": 64, "lr": Float(0.001, 0.1)},
    baseline={"lr": 0.01}, sampler=Random(), pruner=NoPruner())
"""


def test_a_changed_file_of_the_users_own_model_is_refused_until_that_is_meant(new_world: NewWorld) -> None:
    """Exit 3 with the file; --changed-code goes on and says so, and from then on the new code is the study's."""
    world = new_world()
    world.study = str(world.folder / "own.py")
    (world.folder / "own.py").write_text(OWN_MODEL)
    net = world.folder / "own_net.py"
    net.write_text("ACTIVATION = 'relu'\n")
    world.run("--trials", "2")
    net.write_text("ACTIVATION = 'gelu'\n")
    refused = world.run("--trials", "3", code=3)
    assert 'study "faults" was trained with other code (2 finished trials)' in refused
    assert str(net) in refused
    assert "--changed-code" in refused
    assert len(world.trials()) == 2
    assert "mixes old and new trials" in world.run("--trials", "3", "--changed-code")
    assert "mixes old and new" not in world.run("--trials", "4")
    world.check(finished=4)


def test_trials_that_only_failed_are_no_reason_to_refuse_the_mended_model(new_world: NewWorld) -> None:
    """`fix the model, then run again` is what a repeated failure promises."""
    world = new_world(fake={"every": "failed"})
    world.study = str(world.folder / "own.py")
    (world.folder / "own.py").write_text(OWN_MODEL)
    net = world.folder / "own_net.py"
    net.write_text("broken\n")
    world.run("--trials", "2", code=70)
    net.write_text("mended\n")
    del world.fake["every"]
    said = world.run("--trials", "3")
    world.check(finished=3)
    assert "the baseline failed with other code: it is tried again" in said
    assert "1 failed trial (1) failed with other code and counts as finished; --retry-failed tries again" in said
    assert [trial.state.name for trial in world.trials()] == ["COMPLETE", "FAIL", "COMPLETE"]
    assert "tried again: 1 failed trial (1)" in world.run("--trials", "3", "--retry-failed")
    trials = world.trials()
    assert [trial.state.name for trial in trials] == ["COMPLETE"] * 3
    for trial in trials[:2]:
        assert "failure" not in trial.user_attrs
        assert trial.user_attrs["earlier_failure"]["kind"] == "failed"


def test_another_version_of_hpo_goes_on_with_a_note(new_world: NewWorld) -> None:
    """An upgrade in the middle of a study must be possible; only files that decide a result are named."""
    world = new_world()
    world.run("--trials", "1")
    for file in ("hpo/models/mlp.py", "hpo/cli/app.py"):
        world.sql(f"UPDATE hpo_sources SET files = regexp_replace(files, '(\"{file}\": \").{{8}}', '\\1--------')")
    output = world.run("--trials", "2")
    assert "note: hpo's own code changed since the last finished trial (hpo/models/mlp.py)" in output
    world.check(finished=2)

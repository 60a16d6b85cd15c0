"""A command as training, under hpo: whatever the program does, in any language, ended whenever. docs/failures.md."""

from __future__ import annotations

import os
import queue
import signal
import stat
import subprocess
from pathlib import Path
from shutil import copytree
from typing import Any

import psutil
import pytest
from odd_commands import CASES
from world import World, until

from hpo.commands.run import CommandRun
from hpo.messages import Job, Message, Protocol
from hpo.own_messages import OwnCommand, Report
from hpo.training.progress import StopRequest

HERE = Path(__file__).parent
NewWorld = Any


def running(world: World, word: str) -> list[psutil.Process]:
    """Processes with `word` on their command line, of this world's trials."""
    found = []
    for process in psutil.process_iter(["cmdline", "status"]):
        line = " ".join(process.info["cmdline"] or [])
        if word in line and str(world.folder) in line and process.info["status"] != psutil.STATUS_ZOMBIE:
            found.append(process)
    return found


def hpo(world: World, *words: str, code: int = 0) -> str:
    """Another command of hpo's on the world's study."""
    return world.start(*words[1:], command=words[0]).ends(code)


def check(world: World, code: int = 0) -> str:
    """`hpo check`, which needs no database."""
    without = World("", world.folder / "check", None, world.study)
    without.folder.mkdir(exist_ok=True)
    return without.start(command="check").ends(code)


def test_whatever_a_program_does_ends_its_trial_alone(new_world: NewWorld) -> None:
    """Each has one clear outcome, and the next trial of the same trainer finds everything as it should be."""
    world: World = new_world(study=str(HERE / "odd_commands.py"), name="odd_commands", fake=None)
    output = world.run("--trainers", "1")
    trials = {trial.params["case"]: trial for trial in world.check(finished=len(CASES))}
    for case, wanted in CASES.items():
        trial, failure = trials[case], trials[case].user_attrs.get("failure", {})
        if isinstance(wanted, tuple):
            assert (trial.state.name, failure["reason"].endswith(wanted[1])) == (wanted[0], True), (case, failure)
        else:
            assert (trial.state.name, trial.value) == ("COMPLETE", wanted), (case, failure)
    assert trials["reports"].intermediate_values == trials["rewrites"].intermediate_values == {0: 0.0, 1: 0.25, 2: 0.5}
    assert trials["out_of_memory"].constraints == {"memory": 1.0}
    assert trials["nan"].constraints == {"finite": 1.0}
    assert trials["fails"].user_attrs["failure"]["traceback"] == ["about to fail", "the learning rate is odd"]
    assert not running(world, "a-child-that-hides")
    assert "nothing to see" not in output
    assert "\x1b" not in output
    printed = hpo(world, "trials", "--output", str(trials["gigabyte"].number))
    assert "bytes left out]" in printed
    assert len(printed) < 100_000
    assert hpo(world, "trials", "--output", str(trials["silent"].number)) == "nothing to see\n"
    assert "\x1b" not in hpo(world, "trials", "--output", str(trials["binary"].number))


def test_a_program_may_be_of_any_language(new_world: NewWorld, tmp_path: Path) -> None:
    """A file that HPO_METRICS names is all they need; and what a row holds is one word to each of them."""
    copytree(HERE / "languages", tmp_path / "languages")
    subprocess.run(["cc", "-o", "train", "train.c"], cwd=tmp_path / "languages", check=True)
    world: World = new_world(study=str(tmp_path / "languages" / "languages.py"), name="languages", fake=None)
    shown = check(world)
    assert """baseline   ./train.sh 'it'"'"'s $HOME; and more'""" in shown
    world.run()
    for trial in world.check(finished=4):
        assert (trial.state.name, trial.value) == ("COMPLETE", 0.3), trial.user_attrs
        assert trial.intermediate_values == {1: 0.1, 2: 0.2, 3: 0.3}
        (printed,) = (world.folder / "checkpoints").glob(f"*/{trial.number}.txt")
        assert printed.read_text() == "done with it's $HOME; and more\n"
    assert "needs a model that hpo trains" in hpo(world, "reproduce", "--trial", "0", code=2)
    assert hpo(world, "best").splitlines()[-1] == """./train.sh 'it'"'"'s $HOME; and more'"""


def test_a_program_that_is_not_there_is_refused_before_the_first_trial(new_world: NewWorld, tmp_path: Path) -> None:
    copytree(HERE / "languages", tmp_path / "languages")
    (tmp_path / "languages" / "train.sh").chmod(stat.S_IRUSR)
    world: World = new_world(study=str(tmp_path / "languages" / "languages.py"), name="languages", fake=None)
    assert "train.sh may not be executed" in world.run(code=2)
    (tmp_path / "languages" / "train.sh").unlink()
    assert "train.sh is not there" in check(world, code=2)
    assert world.sql("SELECT to_regclass('trials')")[0][0] is None or world.sql("SELECT * FROM trials") == []


@pytest.mark.parametrize("manners", ["polite", "deaf"])
def test_a_pruned_program_ends_with_all_that_it_started(new_world: NewWorld, manners: str) -> None:
    world: World = new_world(study=str(HERE / "slow_commands.py"), name="slow_commands", fake=None)
    world.run("--trials", "4", "--trainers", "1", PRUNE="1", MANNERS=manners)
    assert not running(world, "slow_program.py")
    trials = world.check(finished=4)
    for trial in trials[:2]:
        assert (trial.state.name, len(trial.intermediate_values)) == ("COMPLETE", 12)
    for trial in trials[2:]:
        assert trial.state.name == "PRUNED"
        assert len(trial.intermediate_values) < 12
        assert trial.value == trial.intermediate_values[max(trial.intermediate_values)]
        (printed,) = (world.folder / "checkpoints").glob(f"*/{trial.number}.txt")
        assert ("told to stop" in printed.read_text()) == (manners == "polite")
    for printed in (world.folder / "checkpoints").glob("*/*.txt"):
        assert printed.read_text().startswith("children of others: 0\n")


@pytest.mark.parametrize("manners", ["polite", "deaf"])
def test_a_paused_program_goes_on_from_what_it_kept(new_world: NewWorld, manners: str) -> None:
    """With the same values; and what it reported before counts: the best was in its third epoch."""
    world: World = new_world(study=str(HERE / "slow_commands.py"), name="slow_commands", fake=None)
    words = {"MANNERS": manners, "VALUE": "best"}
    process = world.start("--trials", "1", "--trainers", "1", **words)
    until(lambda: len(running(world, "slow_program.py")) >= 1, "a program")
    until(lambda: _epochs(world) >= 4, "four epochs")
    process.send(signal.SIGTERM)
    process.ends(143)
    until(lambda: not running(world, "slow_program.py"), "the end of the program", 10)
    (before,) = world.check(finished=0, unfinished=1)
    world.run("--trials", "1", "--trainers", "1", **words)
    (trial,) = world.check(finished=1)
    assert trial.params == before.params
    assert trial.value == trial.params["level"] + 1
    assert sorted(trial.intermediate_values) == list(range(12))
    printed = hpo(world, "trials", "--output", "0")
    assert "the trial goes on here" in printed
    assert printed.count("epoch ") == 12


def _epochs(world: World) -> int:
    kept = list((world.folder / "checkpoints").glob("*/0/epochs"))
    return int(kept[0].read_text() or 0) if kept else 0


@pytest.mark.parametrize("victim", ["first", "second", "coordinator"])
def test_no_program_outlives_its_trainer(new_world: NewWorld, victim: str) -> None:
    """Whichever process gets SIGKILL, the program goes, and its child; the trial is trained again."""
    world: World = new_world(study=str(HERE / "slow_commands.py"), name="slow_commands", fake=None)
    hold = world.folder / "checkpoints" / "hold"
    hold.parent.mkdir()
    hold.touch()
    process = world.start("--trials", "1", "--trainers", "1", MANNERS="deaf")
    until(lambda: len(running(world, "slow_program.py")) == 2, "the program and its child")
    before = {one.pid for one in running(world, "slow_program.py")}
    (trainer,) = process.trainers()
    if victim == "coordinator":
        process.kill()
    else:
        os.kill(trainer.pid if victim == "first" else trainer.children()[0].pid, signal.SIGKILL)
    until(lambda: not before & {one.pid for one in running(world, "slow_program.py")}, "the end of the old ones", 10)
    hold.unlink()
    if victim == "coordinator":
        world.run("--trials", "1", "--trainers", "1", MANNERS="deaf")
    else:
        assert "which will be resumed" in process.ends()
    (trial,) = world.check(finished=1)
    assert (trial.state.name, sorted(trial.intermediate_values)) == ("COMPLETE", list(range(12)))
    assert not running(world, "slow_program.py")


def test_an_end_that_was_never_told_is_told_by_the_next_attempt(tmp_path: Path) -> None:
    """The program is through, and its coordinator dies before the database hears: started again, it adds nothing."""
    kept = tmp_path / "study" / "3"
    script = f'test -e {kept}/done || {{ echo \'{{"epoch": 0, "loss": 0.5}}\' > $HPO_METRICS; touch {kept}/done; }}'
    command = OwnCommand(
        ("/bin/sh", "-c", script), "sh", str(tmp_path), ("loss",), history=str(tmp_path / "study" / "3.jsonl")
    )
    job = Job(1, 3, {}, Protocol(0, ("loss",)), {}, {}, 0, str(kept), command=command)
    for _ in range(2):
        said: list[Message] = []
        ended = CommandRun(
            job, said.append, StopRequest(), queue.SimpleQueue(), dict(os.environ), tmp_path / "metrics"
        ).run()
        assert (ended.outcome, ended.metrics) == ("complete", {"loss": 0.5})
        assert [message.metrics for message in said if isinstance(message, Report)] == [{"loss": 0.5}]

"""Real training, interrupted for real: what comes out is what comes out of one that was left alone."""

from __future__ import annotations

import os
import resource
import signal
from itertools import pairwise
from pathlib import Path
from typing import Any

import psutil
import pytest
from world import Hpo, World, until

NewWorld = Any
EPOCHS = 60
pytestmark = pytest.mark.timeout(900)


@pytest.fixture
def study(tmp_path: Path) -> str:
    """One long trial after another on scikit-learn's digits; dropout and momentum make every random number count."""
    path = tmp_path / "long.py"
    path.write_text(
        "from hpo import Float, NoPruner, Random, Study\n"
        f"study = Study(name='faults', dataset='digits', model='mlp', epochs={EPOCHS}, pruner=NoPruner(),\n"
        "    sampler=Random(), space={'batch_size': 8, 'layers': 2, 'hidden_units': [200, 100], 'dropout': 0.3,\n"
        "           'optimizer': 'sgd', 'momentum': 0.9, 'lr': Float(0.001, 0.1, log=True)},\n"
        "    baseline={'lr': 0.01})\n"
    )
    return str(path)


def epochs_of(world: World) -> list[int]:
    """The epochs of trial 0 that the database has."""
    return [
        row[0] for row in world.sql("SELECT epoch FROM hpo_epochs e JOIN trials t USING (trial_id) WHERE number = 0")
    ]


def checkpoint(world: World) -> Path | None:
    return next(iter((world.folder / "checkpoints").glob("*/0/current")), None)


def under_way(world: World, process: Hpo) -> None:
    """It has trained on, and been written down, since it was last begun."""
    begun = len(epochs_of(world))
    until(
        lambda: process.process.poll() is not None or (len(epochs_of(world)) >= begun + 4 and checkpoint(world)),
        "a checkpoint",
    )
    assert process.process.poll() is None, process.output


def first_epochs(log: Path) -> list[int]:
    """The first epoch that was trained each time that trial 0 was begun, as logged_trainer.py writes it down."""
    found: list[int] = []
    begun = False
    for line in log.read_text(encoding="ascii").splitlines():
        _, _, event, _, epoch, _ = line.split()
        if begun and event == "epoch":
            found.append(int(epoch))
        begun = event == "begin" or (begun and event != "epoch")
    return found


def kill_trainer(world: World, process: Hpo) -> None:
    for child in process.trainers():
        child.send_signal(signal.SIGKILL)
    process.says("will be resumed")


def kill_coordinator(world: World, process: Hpo) -> None:
    trainers = process.trainers()
    process.kill()
    assert psutil.wait_procs(trainers, timeout=20)[1] == [], "the trainers of a killed coordinator leave"


def terminate(world: World, process: Hpo) -> None:
    process.send(signal.SIGTERM)
    process.ends(143)


def tear_checkpoint(world: World, process: Hpo) -> None:
    """The newest checkpoint is torn, as by a power failure: the one before it is used."""
    folder = checkpoint(world).parent  # type: ignore[union-attr]
    until(lambda: (folder / "previous").exists(), "a second checkpoint")
    kill_coordinator(world, process)
    current = folder / "current"
    os.truncate(current, current.stat().st_size // 2)


def test_a_trial_interrupted_in_every_way_is_bit_for_bit_the_one_left_alone(
    new_world: NewWorld, study: str, tmp_path: Path
) -> None:
    """Same curve, same final value; after each interruption it goes on from a checkpoint, not from the start."""
    world = new_world(fake=None, study=study)
    slowly = tmp_path / "slowly"
    slowly.touch()
    logged = {"TRAINER_LOG": str(tmp_path / "log"), "SLOWLY": str(slowly)}
    process = world.start("--trials", "1", "--trainers", "1", **logged)
    for interrupt in (kill_trainer, kill_coordinator, tear_checkpoint, terminate):
        under_way(world, process)
        interrupt(world, process)
        if interrupt is terminate:
            slowly.unlink()
        if process.process.poll() is not None:
            process = world.start("--trials", "1", "--trainers", "1", **logged)
    process.ends()
    [trial] = world.check(finished=1)
    assert trial.state.name == "COMPLETE"
    begun = first_epochs(tmp_path / "log")
    assert len(begun) == 5
    assert begun[0] == 1
    assert all(before < after for before, after in pairwise(begun)), "each time from a later checkpoint"
    assert sorted(trial.intermediate_values) == list(range(1, EPOCHS + 1)), "stock Optuna reads them in no order"
    # `hpo reproduce` trains it again in one go: every number of every epoch is equal, to the last bit.
    output = world.start("--trial", "0", command="reproduce").ends(0)
    assert "same" in output
    assert "differs" not in output


def test_a_full_disk_is_said_and_costs_no_result(new_world: NewWorld, study: str) -> None:
    """The kernel refuses every checkpoint: one sentence, training without checkpoints, the result in the database."""
    world = new_world(fake=None, study=study)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (64 * 1024, before[1]))  # inherited; a checkpoint here has 300 kB
    try:
        process = world.start("--trials", "1", "--trainers", "1")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    output = process.ends()
    assert "no checkpoints from now on: File too large" in output
    [trial] = world.check(finished=1)
    assert trial.state.name == "COMPLETE"
    assert any("no checkpoints" in warning for warning in trial.user_attrs["warnings"])


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount a small file system")
def test_a_file_system_without_room_is_said_and_costs_no_result(
    new_world: NewWorld, study: str, tmp_path: Path
) -> None:
    """ENOSPC itself, on a file system of 64 kB."""
    import subprocess

    small = tmp_path / "checkpoints"
    small.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "none", str(small)], check=False).returncode:
        pytest.skip("this root may not mount")
    try:
        world = new_world(fake=None, study=study)
        output = world.run("--trials", "1", "--trainers", "1")
        assert "no checkpoints from now on: No space left on device" in output
        assert world.check(finished=1)[0].state.name == "COMPLETE"
    finally:
        subprocess.run(["umount", "-l", str(small)], check=True)

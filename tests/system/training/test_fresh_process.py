"""A trainer that can compute no more answers its job, and goes on as a fresh process behind the same socket."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from hpo.messages import Epoch, Finished, Job, Ready, Stop
from hpo.trainers.process import TrainerProcess

HERE = Path(__file__).parent
FOREVER = {"epochs": 1_000_000}


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """What the trainer writes to stderr."""
    return tmp_path / "log"


@pytest.fixture
def trainer(home: Path, log: Path) -> Iterator[TrainerProcess]:
    environ = {**os.environ, "HPO_HOME": str(home), "PYTHONPATH": str(HERE.parents[2]), "STDERR": str(log)}
    process = TrainerProcess("cpu", command=[sys.executable, str(HERE / "giving_up_trainer.py")], environ=environ)
    yield process
    process.kill()


def end_of(trainer: TrainerProcess) -> Finished:
    while not isinstance(message := trainer.receive(), Finished):
        assert isinstance(message, Epoch | Ready), message
    return message


def with_model(job: Job, name: str) -> Job:
    model = {**job.model, "builder": f"synthetic:{name}"}
    return replace(job, model=model, sys_path=[str(HERE.parents[1])])


def test_a_trial_that_ends_its_cuda_context_fails_with_its_traceback_and_the_next_one_trains(
    trainer: TrainerProcess, make_job: Any, log: Path
) -> None:
    """A request to stop that came for a job in the queue is not lost between the two processes, nor is the job."""
    pid = trainer.pid
    trainer.send(with_model(make_job(), "asserting"))
    queued = replace(make_job(protocol=FOREVER), trial_id=8)
    trainer.send(queued)
    trainer.send(Stop(8, keep=False))
    failed = end_of(trainer)
    assert failed.outcome == "failed"
    assert "device-side assert" in failed.reason
    assert any("synthetic.py" in line for line in failed.details)
    assert end_of(trainer).outcome == "stopped"
    trainer.send(make_job())
    assert end_of(trainer).outcome == "complete"
    assert trainer.pid == pid
    assert log.read_text().count("a process begins") == 2


def test_a_trainer_on_a_broken_device_leaves_without_a_result(
    trainer: TrainerProcess, make_job: Any, log: Path
) -> None:
    """Its coordinator resumes the trial elsewhere, and leaves the device alone after the third."""
    trainer.send(with_model(make_job(), "on_a_broken_device"))
    assert isinstance(trainer.receive(), Ready)
    assert trainer.receive() is None
    assert trainer.close() == "exit code 5"
    assert "cpu is broken: CUDA error: uncorrectable ECC error" in log.read_text()

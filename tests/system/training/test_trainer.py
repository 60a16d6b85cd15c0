"""The trainer as a process, over a real socket pair."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch

from hpo.messages import Epoch, Finished, Job, Message, Ready, Stop, decode, encode
from hpo.trainers.process import TrainerProcess

ROOT = Path(__file__).parents[3]
HERE = str(ROOT / "tests")
FOREVER = {"epochs": 1_000_000}
PATIENCE = 120.0


class Child:
    """A trainer, and this end of its channel."""

    def __init__(self, home: Path, device: str = "cpu") -> None:
        ours, theirs = socket.socketpair()
        with theirs:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "hpo.trainer", "--fd", str(theirs.fileno()), "--device", device],
                pass_fds=[theirs.fileno()],
                cwd=ROOT,
                env={**os.environ, "HPO_HOME": str(home), "OMP_NUM_THREADS": "8", "PYTHONDONTWRITEBYTECODE": "1"},
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
        self.channel = Connection(ours.detach())

    def send(self, message: Message) -> None:
        self.channel.send_bytes(encode(message))

    def receive(self) -> Message:
        assert self.channel.poll(PATIENCE), "the trainer is silent"
        return decode(self.channel.recv_bytes())

    def until_finished(self) -> tuple[list[Epoch], Finished]:
        epochs: list[Epoch] = []
        while not isinstance(message := self.receive(), Finished):
            assert isinstance(message, Epoch)
            epochs.append(message)
        return epochs, message

    def run(self, job: Job) -> tuple[list[Epoch], Finished]:
        self.send(job)
        return self.until_finished()

    def end(self) -> tuple[str, str]:
        """Close the channel, wait, and give (stdout, stderr)."""
        self.channel.close()
        try:
            return self.process.communicate(timeout=PATIENCE)
        finally:
            self.process.kill()


@pytest.fixture
def child(home: Path) -> Iterator[Child]:
    child = Child(home)
    ready = child.receive()
    assert isinstance(ready, Ready)
    assert ready.pid == child.process.pid
    assert ready.device == "cpu"
    assert ready.device_name
    assert ready.versions["torch"] == torch.__version__
    yield child
    child.end()


def test_it_trains_job_after_job_whatever_a_model_does(child: Child, make_job: Any) -> None:
    """Good, buggy, too large, printing and good again: each is answered by its own outcome, on one process."""
    epochs, finished = child.run(make_job())
    assert (finished.outcome, len(epochs)) == ("complete", 3)
    assert all(epoch.trial_id == 7 for epoch in epochs)

    def other(name: str) -> Finished:
        return child.run(Job(**{**vars(make_job(builder=f"synthetic:{name}")), "sys_path": [HERE]}))[1]

    failed = other("breaking")
    assert (failed.outcome, failed.reason) == ("failed", "RuntimeError: boom")
    assert "synthetic.py" in "".join(failed.details)
    large = other("out_of_memory")
    assert large.outcome == "out_of_memory"
    assert "batch [32, 1, 8, 8]" in large.reason
    assert other("leaving").outcome == "failed"
    assert other("chatty").outcome == "complete"
    assert child.run(make_job(builder="hpo.models.mlp:nothing"))[1].reason.startswith("StudyError: ")
    again = child.run(make_job())[1]
    assert again.metrics == finished.metrics
    out, err = child.end()
    assert out == ""
    assert "a print in a user's model" in err


def test_it_keeps_its_size_whatever_models_leave_behind(child: Child, make_job: Any) -> None:
    """What the first trial freed in small pieces has gone back to the system when the second trains, and no network
    outlives its trial, although each of these holds itself."""

    def model(name: str) -> Job:
        return Job(**{**vars(make_job(builder=f"synthetic:{name}")), "sys_path": [HERE]})

    def size_while_it_trains() -> int:
        child.send(model("circular"))
        assert isinstance(child.receive(), Epoch)
        size = psutil.Process(child.process.pid).memory_info().rss
        assert child.until_finished()[1].outcome == "complete"
        return size

    assert child.run(model("crumbling"))[1].outcome == "complete"
    first = size_while_it_trains()
    for _ in range(8):
        child.run(model("circular"))
    last = size_while_it_trains()
    crumbled = int(child.end()[1].rpartition("crumbled:")[2].split()[0])
    assert crumbled - first > 100 << 20
    assert last - first < 64 << 20


def test_nothing_is_killed_below_the_number_of_a_trainer_that_has_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    """By then it may be another process's."""
    process = TrainerProcess("cpu", command=["true"], environ=os.environ)
    assert process.ended_with == 0
    monkeypatch.setattr("hpo.trainers.process.descendants", lambda pid: pytest.fail(f"looked below {pid}"))
    assert process.close() == "exit code 0"


def test_missing_data_is_bad_data(child: Child, make_job: Any) -> None:
    """The loader's DataError arrives with its evidence and next step."""
    dataset = {"loader": "synthetic:load_nothing", "name": "nothing"}
    job = Job(**{**vars(make_job(dataset=dataset)), "sys_path": [HERE]})
    finished = child.run(job)[1]
    assert (finished.outcome, finished.reason) == ("bad_data", "no such files")
    assert finished.details == ["next: look for them"]


def test_stop_puts_a_trial_down_and_the_same_job_goes_on(child: Child, make_job: Any, tmp_path: Path) -> None:
    """Stopped within a second, resumed with its epochs told again first."""
    job = make_job(checkpoint=tmp_path / "trial", protocol=FOREVER)
    child.send(job)
    while not isinstance(message := child.receive(), Epoch) or message.epoch < 3:
        pass
    asked = time.perf_counter()
    child.send(Stop(7, keep=True))
    _, finished = child.until_finished()
    assert finished.outcome == "stopped"
    assert time.perf_counter() - asked < 1.0
    done = finished.epoch
    child.send(job)
    told = [child.receive() for _ in range(done + 1)]
    assert [(epoch.epoch, epoch.replayed) for epoch in told if isinstance(epoch, Epoch)] == [
        *((number, True) for number in range(1, done + 1)),
        (done + 1, False),
    ]
    child.send(Stop(7, keep=False))
    assert child.until_finished()[1].facts["resumed_epoch"] == done


def test_a_stop_for_a_trial_that_has_ended_does_not_stop_its_next_attempt(child: Child, make_job: Any) -> None:
    """Nor does a stop for another trial."""
    child.run(make_job())
    child.send(Stop(7, keep=True))
    child.send(Stop(8, keep=True))
    assert child.run(make_job())[1].outcome == "complete"


def test_a_stop_that_overtakes_its_job_in_the_queue_counts(child: Child, make_job: Any) -> None:
    """The second job is queued behind the first; it is stopped before its first step."""
    child.send(make_job(protocol=FOREVER))
    child.send(Job(**{**vars(make_job()), "trial_id": 9}))
    child.send(Stop(9, keep=False))
    child.send(Stop(7, keep=False))
    assert child.until_finished()[1].trial_id == 7
    epochs, finished = child.until_finished()
    assert (finished.trial_id, finished.outcome, epochs) == (9, "stopped", [])


@pytest.mark.faults
def test_it_leaves_at_once_without_its_coordinator(child: Child, make_job: Any) -> None:
    """In the middle of training, when the channel closes; interrupts are not its business."""
    child.send(make_job(protocol=FOREVER))
    assert isinstance(child.receive(), Epoch)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        child.process.send_signal(number)
    assert isinstance(child.receive(), Epoch)
    child.channel.close()
    assert child.process.wait(timeout=5) == 0


def test_a_device_that_is_not_there_ends_it_with_a_message(tmp_path: Path) -> None:
    """Exit code 5, and the reason on stderr."""
    child = Child(tmp_path, device="cuda:99")
    _, err = child.process.communicate(timeout=PATIENCE)
    child.channel.close()
    assert child.process.returncode == 5
    assert "no device 'cuda:99' here" in err

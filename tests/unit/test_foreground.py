"""A trainer in the foreground: what the coordinator takes for a process, and is this one."""

from __future__ import annotations

import os
import threading
import time

import pytest

from hpo.errors import DeviceError
from hpo.messages import Job, Protocol, Stop, decode
from hpo.trainers.foreground import ForegroundTrainer


def test_it_is_started_once_and_knows_which_trial_it_was_given() -> None:
    trainer = ForegroundTrainer()
    assert trainer.start("cpu") is trainer
    assert trainer.devices.get_nowait() == "cpu"
    with pytest.raises(DeviceError, match="was left"):
        trainer.start("cpu")
    assert trainer.devices.empty()
    assert trainer.send(Stop(7, keep=True))
    assert trainer.number is None
    assert trainer.send(Job(7, 3, {}, Protocol(1, ("loss",)), {}, {}, seed=1))
    assert trainer.number == 3
    assert [type(decode(trainer.theirs.recv_bytes())) for _ in range(2)] == [Stop, Job]


def test_one_that_waits_for_a_message_sees_that_it_was_left_and_nothing_is_killed() -> None:
    trainer, ended = ForegroundTrainer(), list[bool]()

    def wait() -> None:
        try:
            trainer.theirs.recv_bytes()
        except EOFError:
            ended.append(True)

    waiting = threading.Thread(target=wait, daemon=True)
    waiting.start()
    time.sleep(0.05)
    trainer.end()
    assert (trainer.pid, waiting.is_alive()) == (os.getpid(), True)
    assert trainer.kill() == "left by its user"
    waiting.join(10)
    assert ended == [True]
    assert not trainer.send(Stop(7, keep=True)), "nobody is there any more"
    assert trainer.close() == "left by its user", "twice is as once"

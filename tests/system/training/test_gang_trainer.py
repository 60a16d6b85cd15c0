"""One trial on several devices: on a CPU, with ranks that talk over gloo."""

from __future__ import annotations

import contextlib
import os
import queue
import signal
import socket
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch

from hpo.data.files import Folders
from hpo.messages import Epoch, Finished, Job, Message, Protocol, Ready, Stop
from hpo.own_messages import Answer, OwnTraining, Question
from hpo.own_training.training import run_training
from hpo.trainers.process import GANG_TRAINER, TrainerProcess
from hpo.training.fit import fit
from hpo.training.progress import StopRequest
from hpo.training.train_val_split import DataCache

HERE = str(Path(__file__).parent)
PATIENCE = 300.0


class GangOfRanks:
    """A trainer of `size` ranks as its coordinator has it, which may ask it to stop after an epoch."""

    def __init__(self, size: int, home: Path, command: Sequence[str] = GANG_TRAINER, **environ: str) -> None:
        every = {**os.environ, "HPO_HOME": str(home), "PYTHONDONTWRITEBYTECODE": "1", **environ}
        self.process = TrainerProcess(",".join(["cpu"] * size), command=command, environ=every)
        self.warm = False

    def receive(self) -> Message | None:
        assert self.process.connection.poll(PATIENCE), "the trainer is silent"
        return self.process.receive()

    def train(self, job: Job, *, stop_after: int | None = None, keep: bool = True) -> tuple[list[Epoch], Finished]:
        if not self.warm:
            assert isinstance(self.receive(), Ready)
            self.warm = True
        self.process.send(job)
        epochs: list[Epoch] = []
        while not isinstance(message := self.receive(), Finished):
            assert message is not None, self.process.close()
            if isinstance(message, Epoch):
                epochs.append(message)
                if message.epoch == stop_after:
                    self.process.send(Stop(job.trial_id, keep))
            elif isinstance(message, Question):
                self.process.send(Answer(job.trial_id, message.number, True))
        return epochs, message

    def lost(self, job: Job) -> str:
        """How it ended over `job`."""
        self.process.send(job)
        while self.receive() is not None:
            pass
        return self.process.close()


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GangOfRanks]:
    """Where the port that torch would take by itself is in use."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        gang = GangOfRanks(3, tmp_path_factory.mktemp("home"), MASTER_ADDR="127.0.0.1", MASTER_PORT=port)
        yield gang
        gang.process.kill()


def curve(epochs: list[Epoch]) -> list[dict[str, float]]:
    return [{**epoch.metrics, **epoch.own} for epoch in epochs]


RULES = Protocol(epochs=5, objectives=("val_loss",))


def own_job(checkpoint: Path | str = "", **params: Any) -> Job:
    own = OwnTraining(f"{HERE}/shared_training.py:train", "s", ("minimize",), ("val_loss",), define_by_run=False)
    return Job(4, 2, {"lr": 0.01, **params}, RULES, {}, {}, 7, str(checkpoint), own=own)


def test_a_trial_on_three_devices_has_the_curve_of_one(
    three: GangOfRanks, make_job: Any, device: torch.device, folders: Folders
) -> None:
    """Averaged gradients and split validation: the same numbers within rounding, whatever the recipe does."""
    recipe = {"optimizer": "adamw", "gradient_clip": 0.5, "ema_decay": 0.9, "freeze_epochs": 1, "accumulate": 2}
    job = make_job(batch_size=23, **recipe)
    alone: list[Epoch] = []
    fit(job, DataCache(folders, device), device, alone.append, StopRequest())
    epochs, finished = three.train(job)
    assert finished.outcome == "complete"
    assert finished.facts["ranks"] == 3
    assert [row["val_accuracy"] for row in curve(epochs)] == [row["val_accuracy"] for row in curve(alone)]
    for one, other in zip(curve(epochs), curve(alone), strict=True):
        assert one == pytest.approx(other, rel=1e-4)


def test_a_paused_trial_goes_on_exactly_on_as_many_devices(three: GangOfRanks, make_job: Any, tmp_path: Path) -> None:
    """Each rank draws its own numbers (dropout), which the checkpoint holds."""
    job = make_job(dropout=0.3, protocol={"epochs": 6})
    whole, _ = three.train(job)
    kept = replace(job, checkpoint=str(tmp_path / "study" / "7"))
    _, stopped = three.train(kept, stop_after=2)
    assert stopped.outcome == "stopped"
    epochs, finished = three.train(kept)
    assert finished.outcome == "complete"
    assert finished.facts["resumed_epoch"] >= 2
    assert curve(epochs) == curve(whole)
    _, pruned = three.train(job, stop_after=1, keep=False)
    assert pruned.outcome == "stopped"


def on_one_device(job: Job) -> list[Epoch]:
    """What the job's own function reports, in this process."""
    said: list[Message] = []
    answers = queue.SimpleQueue[Answer]()

    def send(message: Message) -> None:
        said.append(message)
        if isinstance(message, Question):
            answers.put(Answer(job.trial_id, message.number, True))

    run_training(job, torch.device("cpu"), send, StopRequest(), answers, lambda sentence: None)
    return [message for message in said if isinstance(message, Epoch)]


@pytest.mark.parametrize("shard", [False, True])
def test_a_function_of_a_run_trains_on_three_devices(three: GangOfRanks, tmp_path: Path, shard: bool) -> None:
    """run.wrap and run.loader: the curve of one device within rounding, and an exact resume."""
    whole, finished = three.train(own_job(shard=shard))
    assert finished.outcome == "complete", finished
    losses = [row["val_loss"] for row in curve(whole)]
    assert losses == pytest.approx([row["val_loss"] for row in curve(on_one_device(own_job()))], rel=1e-9)
    assert [row["rank"] for row in curve(whole)] == [1.0] * 5  # the mean of 0, 1 and 2
    place = tmp_path / "study" / "2"
    assert three.train(own_job(place, shard=shard), stop_after=2)[1].outcome == "stopped"
    epochs, _ = three.train(own_job(place, shard=shard))
    assert [epoch.replayed for epoch in epochs] == [True] * 2 + [False] * 3
    assert curve(epochs) == curve(whole)


def ranks_of(gang: GangOfRanks) -> list[psutil.Process]:
    return psutil.Process(gang.process.pid).children()


def none_left(processes: list[psutil.Process]) -> bool:
    return not psutil.wait_procs(processes, timeout=10)[1]


def test_a_rank_that_fails_is_the_trials_failure_and_one_that_is_lost_a_trainer_lost(
    make_job: Any, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Out of memory in one rank: the trial's outcome, and fresh ranks train the next. One that hangs ends the gang."""
    pids = tmp_path / "pids"
    gang = GangOfRanks(2, tmp_path, PIDS=str(pids), HPO_RANK_SECONDS="4")
    try:
        _, finished = gang.train(replace(make_job(builder="shared_training:out_of_memory"), sys_path=[HERE]))
        assert finished.outcome == "out_of_memory"
        assert finished.reason.endswith("CUDA out of memory. Tried to allocate 1.00 GiB")
        epochs, finished = gang.train(make_job())
        assert (finished.outcome, len(epochs)) == ("complete", 3)
        ranks = ranks_of(gang)
        assert len(ranks) == 2
        assert gang.lost(replace(make_job(builder="shared_training:hangs"), sys_path=[HERE])) == "exit code 5"
        assert "rank 1 (cpu) of 2 does not answer" in capfd.readouterr().err
        assert none_left(ranks)
    finally:
        gang.process.kill()


def test_a_killed_rank_ends_the_gang_and_a_killed_gang_its_ranks(make_job: Any, tmp_path: Path) -> None:
    for victim in (1, None):
        gang = GangOfRanks(2, tmp_path)
        assert isinstance(gang.receive(), Ready)
        ranks = ranks_of(gang)
        if victim is None:
            for rank in ranks:
                rank.suspend()  # which hears nothing any more
            os.kill(gang.process.pid or 0, signal.SIGKILL)  # by somebody who knows nothing of its ranks
        else:
            gang.process.send(make_job(protocol={"epochs": 1_000_000}))
            assert isinstance(gang.receive(), Epoch)
            ranks[victim].send_signal(signal.SIGKILL)
            while gang.receive() is not None:
                pass
        assert gang.process.close() == "signal SIGKILL"
        try:
            assert none_left(ranks)
        finally:
            for rank in ranks:
                with contextlib.suppress(psutil.NoSuchProcess):
                    rank.kill()

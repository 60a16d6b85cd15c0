"""What a clock, a socket or a loss of one rank says ends the trial in all of them, at the same step."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch import Tensor, nn

from hpo.data.files import Folders
from hpo.messages import LOST_PEER, Epoch, Finished, Job
from hpo.training.device import open_device
from hpo.training.fit import fit
from hpo.training.outcomes import failure
from hpo.training.progress import StopRequest
from hpo.training.ranks import Ranks, RanksDiffer
from hpo.training.shared_trial import SharedTrialRun
from hpo.training.train_state import TrainState
from hpo.training.train_val_split import DataCache, TrainValSplit

PATIENCE = 60.0
"""A rank that waits this long for another has been left alone by it."""


class ThreadRanks(Ranks):
    """Ranks that are threads of this process, and share by a list."""

    def __init__(self, rank: int, values: list[Any], barrier: threading.Barrier) -> None:
        super().__init__(rank, len(values))
        self._values, self._barrier = values, barrier

    def share(self, value: Any) -> list[Any]:
        self._values[self.rank] = value
        self._barrier.wait(PATIENCE)
        every = list(self._values)
        self._barrier.wait(PATIENCE)
        return every

    def agree(self, wish: int) -> int:
        return max(self.share(wish))

    def add_up(self, tensors: Sequence[Tensor]) -> None:
        every = self.share([tensor.clone() for tensor in tensors])
        for number, tensor in enumerate(tensors):
            tensor.copy_(torch.stack([one[number] for one in every]).sum(0))

    def take_first(self, tensors: Sequence[Tensor]) -> None:
        first = self.share([tensor.detach().clone() for tensor in tensors])[0]
        for tensor, value in zip(tensors, first, strict=True):
            tensor.detach().copy_(value)


@dataclass
class RankOfTest:
    """What one rank is given, and what it says."""

    job: Job
    stop: StopRequest = field(default_factory=StopRequest)
    stop_after: int | None = None
    epochs: list[Epoch] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    finished: Finished | None = None

    def heard(self, epoch: Epoch) -> None:
        self.epochs.append(epoch)
        if epoch.epoch == self.stop_after:
            self.stop.asked = True

    def train(self, ranks: ThreadRanks, folders: Folders) -> None:
        device = open_device("cpu")
        data = DataCache(folders, device)
        self.finished = fit(self.job, data, device, self.heard, self.stop, self.warnings.append, ranks=ranks)


Train = Callable[..., list[Finished]]


@pytest.fixture
def together(folders: Folders, monkeypatch: pytest.MonkeyPatch) -> Train:
    """together(rank, ...) trains all of them at once: how each ended."""
    one_at_a_time = threading.Lock()  # threads have one generator, from which the first weights come

    def made(*given: Any, **more: Any) -> TrainState:
        with one_at_a_time:
            return TrainState(*given, **more)

    monkeypatch.setattr("hpo.training.shared_trial.TrainState", made)

    def train(*gang: RankOfTest) -> list[Finished]:
        values, barrier = [None] * len(gang), threading.Barrier(len(gang))
        threads = [
            threading.Thread(target=one.train, args=(ThreadRanks(rank, values, barrier), folders), daemon=True)
            for rank, one in enumerate(gang)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(PATIENCE)
        ended = [one.finished for one in gang if one.finished is not None]
        assert len(ended) == len(gang), "a rank was left alone"
        assert len({(one.outcome, one.epoch, one.reason) for one in ended}) == 1
        return ended

    return train


def limited(job: Job, seconds: float | None) -> Job:
    return replace(job, protocol=replace(job.protocol, max_seconds=seconds))


@pytest.mark.parametrize("late", [0, 1])
def test_max_seconds_of_one_ranks_clock_end_all_of_them(together: Train, make_job: Any, late: int) -> None:
    job = make_job(protocol={"epochs": 100_000})
    gang = [RankOfTest(limited(job, 1e-6 if rank == late else None)) for rank in range(2)]
    for finished in together(*gang):
        assert (finished.outcome, finished.epoch) == ("complete", 1)
        assert finished.facts["out_of_time"]
    assert gang[0].epochs[0].metrics == gang[1].epochs[0].metrics


def test_a_loss_that_is_not_finite_in_one_rank_ends_all_of_them(
    together: Train, make_job: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = SharedTrialRun._train_state

    def spoiled(self: SharedTrialRun, parts: TrainValSplit) -> Any:
        state = original(self, parts)
        if self._ranks.rank == 1:
            layer = next(module for module in state.model.modules() if isinstance(module, nn.Linear))
            assert layer.bias is not None
            layer.bias.register_hook(lambda gradient: gradient * torch.nan)
        return state

    monkeypatch.setattr(SharedTrialRun, "_train_state", spoiled)
    for finished in together(*(RankOfTest(make_job()) for _ in range(2))):
        assert finished.outcome == "diverged"
        assert finished.reason == "train_loss is nan in epoch 1"


@pytest.mark.parametrize("asked", [0, 1])
def test_a_stop_that_one_rank_has_heard_is_a_pause_of_all_and_goes_on_exactly(
    together: Train, make_job: Any, tmp_path: Path, asked: int
) -> None:
    """As a deadline and a pause of FreezeThaw() ask for it. With another number of ranks it goes on, and says so."""
    job = make_job(protocol={"epochs": 4})
    whole = [RankOfTest(job) for _ in range(2)]
    together(*whole)
    kept = replace(job, checkpoint=str(tmp_path / "study" / "7"))
    paused = [RankOfTest(kept, stop_after=2 if rank == asked else None) for rank in range(2)]
    for finished in together(*paused):
        assert (finished.outcome, finished.epoch) == ("stopped", 2)
    if asked:  # the same checkpoint
        three = [RankOfTest(kept) for _ in range(3)]
        assert {finished.outcome for finished in together(*three)} == {"complete"}
        says = "the last checkpoint is of 2 devices; on 3 other random numbers are drawn"
        assert [one.warnings for one in three] == [[says]] * 3
        return
    resumed = [RankOfTest(kept) for _ in range(2)]
    for finished in together(*resumed):
        assert (finished.outcome, finished.facts["resumed_epoch"]) == ("complete", 2)
    for one, other in zip(resumed, whole, strict=True):
        assert one.warnings == []
        assert [epoch.metrics for epoch in one.epochs] == [epoch.metrics for epoch in other.epochs]


def test_a_trial_that_is_given_up_in_one_rank_leaves_no_checkpoint(
    together: Train, make_job: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hpo.training.checkpoint.PATIENCE", math.inf)  # none is due by itself
    job = make_job(checkpoint=tmp_path / "study" / "7", protocol={"epochs": 100_000})
    pruned = [RankOfTest(job), RankOfTest(job, StopRequest(keep=False), stop_after=1)]
    for finished in together(*pruned):
        assert finished.outcome == "stopped"
    assert not list(tmp_path.rglob("7*"))


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (dist.DistBackendError("NCCL error: remote process exited"), LOST_PEER),
        (RuntimeError("[../third_party/gloo/gloo/transport/tcp/pair.cc:547] Connection closed by peer"), LOST_PEER),
        (RanksDiffer("where training begins differs between the ranks"), LOST_PEER),
        (torch.OutOfMemoryError("CUDA out of memory"), "out_of_memory"),
        (RuntimeError("shapes cannot be multiplied"), "failed"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else value,
)
def test_what_a_rank_says_of_another_is_no_error_of_its_own(
    make_job: Any, monkeypatch: pytest.MonkeyPatch, error: Exception, outcome: str
) -> None:
    """Unless it trains alone."""
    alone = failure(make_job(), error).outcome
    assert alone == ("failed" if outcome == LOST_PEER else outcome)
    monkeypatch.setattr("hpo.training.ranks._joined", True)
    assert failure(make_job(), error).outcome == outcome

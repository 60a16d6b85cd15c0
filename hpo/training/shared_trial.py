"""A job that several processes train together: what depends on the clock or the socket of one of them is agreed."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from time import perf_counter

import torch
from torch import Tensor

from hpo.messages import Epoch, Finished, Job
from hpo.training.checkpoint import TrainingSnapshot
from hpo.training.configuration import derive_seed
from hpo.training.progress import StopRequest
from hpo.training.ranks import Ranks
from hpo.training.train_state import TrainState
from hpo.training.train_val_split import DataCache, TrainValSplit
from hpo.training.trial_run import TrialRun

__all__ = ["SharedTrialRun"]

GO_ON, OUT_OF_TIME, PAUSE, LEAVE = range(4)
"""What a rank wishes before a step. The largest wish is what all do."""
OWN = ("sums.", "random.")
"""Of a checkpoint's tensors, those that each rank has for itself."""


class SharedTrialRun(TrialRun):
    """One rank of a running job. All go through the same steps, or none does."""

    def __init__(
        self,
        job: Job,
        data: DataCache,
        device: torch.device,
        on_epoch: Callable[[Epoch], None],
        stop: StopRequest,
        on_warning: Callable[[str], None],
        ranks: Ranks,
    ) -> None:
        super().__init__(job, data, device, on_epoch, StopRequest(), on_warning, record=False)
        self._ranks, self._heard = ranks, stop  # self._stop is what was agreed
        self._facts["ranks"] = ranks.size
        self._time_up_at = math.inf

    def begin(self) -> None:
        super().begin()
        progress = self.progress
        self._ranks.check_same("where training begins", (progress.fold, progress.epoch, progress.step))

    def start_clock(self) -> None:
        super().start_clock()
        self._time_up_at, self._deadline = self._deadline, math.inf

    def _train_state(self, parts: TrainValSplit) -> TrainState:
        fold, rank = self.progress.fold, self._ranks.rank
        state = TrainState(self.job, self.recipe, parts, self.device, fold, ranks=self._ranks)
        # A builder that draws from elsewhere than torch's generator would give each rank another network.
        self._ranks.take_first([*state.model.parameters(), *state.model.buffers()])
        if rank:
            torch.manual_seed(derive_seed(self.job.seed, "weights", fold, "rank", rank))
            state.generator.manual_seed(derive_seed(self.job.seed, "augmentation", fold, "rank", rank))
        return state

    def _ends_before(self, step: int) -> bool:
        wish = GO_ON
        if self._heard.asked:
            wish = PAUSE if self._heard.keep else LEAVE
        elif step and perf_counter() >= self._time_up_at:
            wish = OUT_OF_TIME
        agreed = self._ranks.agree(wish)
        self._out_of_time = agreed == OUT_OF_TIME
        if agreed in (PAUSE, LEAVE):
            self._stop.keep, self._stop.asked = agreed == PAUSE, True
        return agreed != GO_ON

    def score_epoch(self) -> dict[str, float] | None:
        running = self.state.step.running
        sums = self._ranks.share((running.loss.item(), running.hits.item()))
        running.loss.fill_(sum(loss for loss, _ in sums))
        running.hits.fill_(sum(hits for _, hits in sums))
        return super().score_epoch()

    def _scored(self) -> dict[str, float] | None:
        """Each rank scores a part of the images; all of them where a metric of all outputs is asked for."""
        if self.state.metrics:
            return super()._scored()
        validation = self.state.parts.validation
        part = validation.tensor_split(self._ranks.size)[self._ranks.rank]
        found = self.state.score(self._judge_batch, lambda: False, part) if len(part) else None
        right = round((found or {}).get("val_accuracy", 0.0) * len(part))
        sums = self._ranks.share((found["val_loss"] * len(part) if found else 0.0, right))
        scored = {"val_loss": sum(loss for loss, _ in sums) / len(validation)}
        if self.state.count is not None:
            scored["val_accuracy"] = sum(right for _, right in sums) / len(validation)
        return scored

    def end_epoch(self, metrics: dict[str, float]) -> None:
        if self._ranks.share(perf_counter() >= self._time_up_at)[0]:
            self._out_of_time = True
        super().end_epoch(metrics)

    def _checkpoint_is_due(self) -> bool:
        return bool(self._ranks.share(super()._checkpoint_is_due())[0])

    def save(self) -> bool:
        """Rank 0 writes what all need."""
        snapshot = self.state.snapshot()
        own = {name: value.cpu() for name, value in snapshot.tensors.items() if name.startswith(OWN)}
        every = self._ranks.share(own)
        saved = False
        if self._ranks.rank == 0:
            tensors = dict(snapshot.tensors)
            for name in ("sums.loss", "sums.hits"):
                tensors[name] = torch.stack([one[name] for one in every]).sum(0)
            tensors |= {f"rank{rank}.{name}": value for rank, one in enumerate(every) for name, value in one.items()}
            progress = {**snapshot.progress, "trial": self.progress.as_json(), "ranks": self._ranks.size}
            saved = self.checkpoints.save(TrainingSnapshot(progress, tensors))
        return bool(self._ranks.share(saved)[0])

    def _snapshot(self, checksum: str) -> TrainingSnapshot | None:
        snapshot = super()._snapshot(checksum)
        if snapshot is None:
            return None
        rank, then = self._ranks.rank, snapshot.progress.get("ranks", 1)
        own = {name: value for name, value in snapshot.tensors.items() if name.startswith(OWN)}
        if then == self._ranks.size:
            own = {name: snapshot.tensors[f"rank{rank}.{name}"] for name in own}
        else:
            size = self._ranks.size
            self._warn(f"the last checkpoint is of {then} devices; on {size} other random numbers are drawn")
            if rank:
                own = {name: self._anew(name, value) for name, value in own.items()}
        return replace(snapshot, tensors={**snapshot.tensors, **own})

    def _anew(self, name: str, stored: Tensor) -> Tensor:
        """For a rank that was not there: nothing added up so far, and a generator's state that nobody else has."""
        if name.startswith("sums."):
            return torch.zeros_like(stored)
        seed = derive_seed(self.job.seed, name, stored.tolist(), "rank", self._ranks.rank)
        on_gpu = len(stored) == len(torch.Generator(self.device).get_state()) and self.device.type == "cuda"
        return torch.Generator(self.device if on_gpu else "cpu").manual_seed(seed).get_state()

    def keep_end(self, finished: Finished) -> None:
        if self._ranks.rank == 0:
            super().keep_end(finished)

"""What a user's own `train(run)` is given: its parameters, its epochs, a checkpoint, and someone to report to."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NoReturn

import torch
from torch import nn

from hpo.messages import Epoch, Job
from hpo.own_messages import Attribute
from hpo.own_metrics import checked_metrics
from hpo.own_training.keeping import BeginAgain, Keeping
from hpo.own_training.link import LONGEST_PAUSE, Ended, Link
from hpo.own_training.loader import REHEARSED_BATCHES, EpochLoader, loader_seed
from hpo.training.checkpoint import told_before
from hpo.training.object_state import restore_generators

__all__ = ["BeginAgain", "Ended", "Run"]


class Run:
    """One training of one configuration. Public attributes:

    params:  the configuration: a value for each row of the study's space, a list where it is one per layer
    seed:    of this trial; random, NumPy and torch were seeded with it
    number:  of the trial in its study
    device:  the torch.device to train on
    phase:   "search", or "final" in `final(run)`, which hpo evaluate calls
    rehearsal: whether hpo check only tries the function, which ends at its first report
    rank, world_size: which of the processes that train this together it is, and how many there are (0 of 1: alone)
    """

    rank, world_size = 0, 1

    def __init__(
        self,
        job: Job,
        link: Link,
        device: torch.device,
        warn: Callable[[str], None],
        *,
        fresh: bool = False,
        rehearsal: bool = False,
    ) -> None:
        self.params: dict[str, Any] = dict(job.config)
        self.seed, self.number, self.phase, self.device = job.seed, job.number, job.phase, device
        self.resumed_epoch: int | None = None
        self.end: Ended | BeginAgain | None = None  # what was raised, which the function may have swallowed
        self.curve: list[dict[str, Any]] = []  # every epoch reported, of all attempts
        self.logged: dict[str, Any] = {}
        self.seconds = 0.0  # trained, in all attempts
        self.rehearsal = rehearsal
        self._job, self._link = job, link
        self._keeping = Keeping(job, warn, load=not fresh and not rehearsal)
        self._random: Mapping[str, Any] | None = None  # where the checkpoint ended, until the next epoch begins
        self._done = self._loaders = self._passes = 0  # epochs; loaders made; passes through them in the epoch
        self._in_epoch = False
        self._reported: dict[str, float] = {}  # in the epoch under way
        self._since = self._stopping_since = time.perf_counter()
        self._stopping = False

    @property
    def resumed(self) -> bool:
        """Whether resume() found a checkpoint of an earlier attempt."""
        return self.resumed_epoch is not None

    # Epochs and reports -------------------------------------------------------------------------------------------

    @property
    def max_epochs(self) -> int:
        """How many epochs there are to be: the study's `epochs`, or in the final phase those of the trial evaluated."""
        return min(self._job.protocol.epochs, self._job.protocol.stop_after or self._job.protocol.epochs)

    def epochs(self, count: int | None = None) -> Iterator[int]:
        """0, 1, ... `count` - 1, as range does, from where the checkpoint ended. None: as many as the study says.

        Between two epochs what was reported is sent, a checkpoint is written when one is due, and a trial that is
        pruned or paused ends. Raises RuntimeError inside another loop over epochs.
        """
        count = self._job.protocol.epochs if count is None else count
        if isinstance(count, bool) or not isinstance(count, int) or count < 1:
            raise ValueError(f"run.epochs({count!r}) must be a whole number of at least 1")
        if self._in_epoch:
            raise RuntimeError("run.epochs(...) is being iterated already; one loop goes over the epochs")
        return self._epochs(min(count, self._job.protocol.stop_after or count))

    def _epochs(self, count: int) -> Iterator[int]:
        self._restore_generators()  # also where no epoch is left
        try:
            for epoch in range(self._done, count):
                self.begin_epoch()
                yield epoch
                self.end_epoch()
        except GeneratorExit:
            self._left_loop()
            raise
        finally:
            self._in_epoch = False

    def _left_loop(self) -> None:
        self._done += 1
        self._send()

    def begin_epoch(self) -> None:
        """In a loop that is a framework's, where run.epochs cannot be: an epoch begins here.

        After resume() has found a checkpoint, the random generators are put once more where it left them.
        """
        self._restore_generators()
        self._passes, self._since, self._in_epoch = 0, time.perf_counter(), True

    def begin_batch(self) -> None:
        """Likewise, a batch begins here. A trial that was pruned ends; one that is to pause, after a moment in which
        its epoch may end, so that less is lost."""
        if not self._link.stopping:
            return
        now = time.perf_counter()
        if not self._stopping:
            self._stopping, self._stopping_since = True, now
        if not self._link.keep or now - self._stopping_since > LONGEST_PAUSE:
            self._link.check()

    def end_epoch(self, *, checkpoint: bool | None = None) -> None:
        """Likewise, an epoch ends here, and does what run.epochs does between two epochs.

        checkpoint: whether one is written; None: if `wants_checkpoint()`
        """
        self._in_epoch = False
        self._done += 1
        sent = self._send()
        if self.rehearsal:
            self._end("complete")
        if self._link.stopping:
            if self._link.keep and checkpoint is not False:
                self._save()
            self._link.check()
        if self._waits_after(self._done) and self.curve and checkpoint is not False and self._save():
            self._link.pause()
        if checkpoint:
            self._save()
        if sent:
            self._link.ask("go_on")  # the answer comes after a request to stop, where the report led to one
        limit = self._job.protocol.max_seconds
        if limit is not None and self.phase == "search" and self.seconds >= limit:
            self._end("complete", "max_seconds")
        if checkpoint is None and self._keeping.due:
            self._save()

    def wants_checkpoint(self) -> bool:
        """Whether an epoch that ends now would write a checkpoint: one is due, or the trial is to pause or wait.

        If so, the time from here until it is written is taken for what a checkpoint costs.
        """
        due = self._keeping.due or (bool(self._reported) and self._waits_after(self._done + 1))
        if wanted := self._keeping.useful and (self._link.keep if self._link.stopping else due):
            self._keeping.begun = time.perf_counter()
        return wanted

    def save_checkpoint(self) -> None:
        """Likewise, within an epoch: write a checkpoint, from which a loop can go on. A trial to be stopped ends."""
        self._save()
        self._link.check()

    def report(self, **metrics: float) -> None:
        """Numbers of the epoch under way: plain, of NumPy, or tensors of one element.

        The first of the study's objectives decides pruning. What is reported again in one epoch replaces what was.
        Outside run.epochs each report is an epoch of its own. TypeError for anything that is not a number.
        """
        self._take(metrics)
        for name in self._job.protocol.objectives:
            if not math.isfinite(self._reported.get(name, 0.0)):
                where = f"epoch {self._done + 1}" if self._in_epoch else f"report {len(self.curve) + 1}"
                self._end("diverged", f"{name} is {self._reported.pop(name)} in {where}")
        if not self._in_epoch:
            self.end_epoch()
            self._passes, self._since = 0, time.perf_counter()
        elif self._link.stopping and not self._link.keep:
            self._link.check()

    def _take(self, metrics: Mapping[str, float]) -> None:
        if not metrics:
            raise TypeError("run.report() needs at least one metric, as in run.report(val_loss=0.3)")
        self._reported = checked_metrics({**self._reported, **metrics})

    def _send(self) -> bool:
        """Tell the coordinator what was reported since the last epoch."""
        seconds = time.perf_counter() - self._since
        self.seconds += seconds
        if not self._reported:
            return False
        objective = self._reported.get(self._job.protocol.objective)
        report = [] if objective is None else [(self._done, objective)]
        metrics, self._reported = self._reported, {}
        epoch = Epoch(self._job.trial_id, self._done, {}, seconds, report, at=time.time(), own=metrics)
        self.curve.append(asdict(epoch))
        self._link.send(epoch)
        return True

    def log(self, **values: Any) -> None:
        """Facts about this trial, as JSON can hold them: they become its user attributes. TypeError for others."""
        for name, value in values.items():
            try:
                json.dumps(value)
            except (TypeError, ValueError) as error:
                raise TypeError(f"run.log({name}=...): {error}") from None
            if self.phase == "search" and not self.rehearsal:
                self.logged[name] = value
                self._link.tell(Attribute(self._job.trial_id, "user", name, value))

    # Checkpoints --------------------------------------------------------------------------------------------------

    def resume(self, **objects: Any) -> SimpleNamespace:
        """Give hpo what the training consists of: it is kept in checkpoints, and restored from the last one.

        Each is an object with state_dict and load_state_dict (a module, an optimizer, a schedule, a GradScaler), a
        random generator, or plain data: numbers, text, tensors, arrays, lists and dicts of them. Returns a namespace
        of them, restored; assign to it what changes: `state = run.resume(model=model, best=0.0)`, `state.best = f1`.
        Call it once, before the first epoch. Random states of torch, NumPy and Python are kept, too.
        """
        if self._done or self._in_epoch:
            raise RuntimeError("call run.resume(...) before the first epoch")
        try:
            state, progress = self._keeping.resume(objects)
        except BeginAgain as unfit:
            self.end = unfit
            raise
        if progress is not None:
            self._random, self.seconds, self.curve = progress["random"], progress["seconds"], progress["curve"]
            self._done = self.resumed_epoch = progress["done"]
            self.logged = progress.get("logged", {}) | self.logged  # which may have been logged before resume()
            restore_generators(progress["random"])
            for message in told_before(self._job.trial_id, self.curve, self.logged):
                self._link.send(message)
        return state

    @property
    def checkpoint_dir(self) -> Path:
        """A folder for files of your own: it outlives a pause and a crash, and is empty when the trial begins."""
        return self._keeping.folder

    def _restore_generators(self) -> None:
        """Once more: what was done since resume() has drawn numbers, too."""
        if self._random is not None:
            restore_generators(self._random)
            self._random = None

    def _waits_after(self, epoch: int) -> bool:
        return 0 < self._job.pause_after <= epoch < self.max_epochs

    def _save(self) -> bool:
        self._link.check_usable()
        told = {"curve": self.curve, "logged": self.logged}
        return self._keeping.save({"done": self._done, "seconds": self.seconds, **told})

    def _end(self, outcome: str, reason: str = "") -> NoReturn:
        self.end = Ended(outcome, reason)
        raise self.end

    def close(self) -> None:
        """The function has returned: send what it reported last."""
        if self._reported:
            self._done += 1
            self._send()

    def leave(self) -> None:
        """The function has ended: remove what was for its eyes alone."""
        self._keeping.leave()

    def wrap(self, model: nn.Module, *, shard: bool = False) -> nn.Module:
        """`model` on the run's device; where several train it, in torch's DistributedDataParallel, or with `shard` in
        parts on each (fully_shard, FSDP2). Make the optimizer afterwards."""
        return model.to(self.device)

    # Data ---------------------------------------------------------------------------------------------------------

    def loader(self, dataset: Any, *, split: bool = True, **options: Any) -> EpochLoader:
        """A DataLoader of `dataset` with DataLoader's options, in an order that a resumed run goes on with.

        Each pass is shuffled by a seed of the trial, the loader, the epoch and the pass in it. A trial that is pruned
        ends at its next batch. split: where several devices train, whether each gets a part of every batch"""
        self._loaders += 1
        seed, at_most = partial(self._seed_of_pass, self._loaders), REHEARSED_BATCHES if self.rehearsal else None
        return EpochLoader(dataset, seed=seed, look=self.begin_batch, at_most=at_most, **options)

    def _seed_of_pass(self, loader: int) -> int:
        self._passes += 1
        return loader_seed(self.seed, loader, self._done, self._passes)

    def __repr__(self) -> str:
        return f"Run(number={self.number}, phase={self.phase!r}, params={self.params})"

"""What a user's own `train(run)` is given: its parameters, its epochs, a checkpoint, and someone to report to."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch

from hpo.messages import Epoch, Job
from hpo.own_messages import Attribute
from hpo.own_metrics import checked_metrics
from hpo.own_training.link import Link
from hpo.own_training.loader import EpochLoader, loader_seed
from hpo.own_training.state import (
    generators,
    restore,
    restore_generators,
    state_of,
    tree_of,
    value_of,
)
from hpo.ownership import links_below
from hpo.training.checkpoint import Checkpoints, TrainingSnapshot

__all__ = ["BeginAgain", "Ended", "Run"]

LONGEST_PAUSE = 1.5
"""Seconds that a loader goes on after a pause was asked for, in case the epoch ends within them."""
REHEARSED_BATCHES = 3
"""Of each pass of a loader while `hpo check` tries the function."""


class Ended(BaseException):
    """Raised in a user's function when its trial ends here for good. Not an Exception, so that `except Exception` lets
    it through. outcome: "complete" (its time is up, or it was only rehearsed) or "diverged"; reason: in words."""

    def __init__(self, outcome: str, reason: str = "") -> None:
        super().__init__(outcome, reason)
        self.outcome, self.reason = outcome, reason


class BeginAgain(BaseException):
    """Raised where a checkpoint does not fit what the function gave to resume()."""


class Run:
    """One training of one configuration. Public attributes:

    params:  the configuration: a value for each row of the study's space, a list where it is one per layer
    seed:    of this trial; random, NumPy and torch were seeded with it
    number:  of the trial in its study
    device:  the torch.device to train on
    phase:   "search", or "final" in `final(run)`, which hpo evaluate calls
    """

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
        self.curve: list[dict[str, Any]] = []  # every epoch reported, of all attempts
        self.seconds = 0.0  # trained, in all attempts
        self._job, self._link, self._fresh, self._rehearsal = job, link, fresh, rehearsal
        self._checkpoints = Checkpoints(job, warn)
        self._state: SimpleNamespace | None = None
        self._random: Mapping[str, Any] | None = None
        self._size = 0
        self._done = 0  # epochs, by run.epochs
        self._iterating = False
        self._reported: dict[str, float] = {}  # in the epoch under way
        self._loaders = self._passes = 0
        self._since = self._stopping_since = time.perf_counter()
        self._stopping = False

    @property
    def resumed(self) -> bool:
        """Whether resume() found a checkpoint of an earlier attempt."""
        return self.resumed_epoch is not None

    # Epochs and reports -------------------------------------------------------------------------------------------

    def epochs(self, count: int | None = None) -> Iterator[int]:
        """0, 1, ... `count` - 1, as range does, from where the checkpoint ended. None: as many as the study says.

        Between two epochs what was reported is sent, a checkpoint is written when one is due, and a trial that is
        pruned or paused ends. Raises RuntimeError inside another loop over epochs.
        """
        count = self._job.protocol.epochs if count is None else count
        if isinstance(count, bool) or not isinstance(count, int) or count < 1:
            raise ValueError(f"run.epochs({count!r}) must be a whole number of at least 1")
        if self._iterating:
            raise RuntimeError("run.epochs(...) is being iterated already; one loop goes over the epochs")
        return self._epochs(min(count, self._job.protocol.stop_after or count))

    def _epochs(self, count: int) -> Iterator[int]:
        self._iterating = True
        if self._random is not None and self._done == self.resumed_epoch:
            restore_generators(self._random)  # again: what was done since resume() has drawn numbers, too
        try:
            for epoch in range(self._done, count):
                self._passes, self._since = 0, time.perf_counter()
                yield epoch
                self._done = epoch + 1
                self._end_epoch()
        except GeneratorExit:  # the function left its loop
            self._done += 1
            self._send()
            raise
        finally:
            self._iterating = False

    def report(self, **metrics: float) -> None:
        """Numbers of the epoch under way: plain, of NumPy, or tensors of one element.

        The first of the study's objectives decides pruning. What is reported again in one epoch replaces what was.
        Outside run.epochs each report is an epoch of its own. TypeError for what is no number.
        """
        if not metrics:
            raise TypeError("run.report() needs at least one metric, as in run.report(val_loss=0.3)")
        self._reported = checked_metrics({**self._reported, **metrics})
        for name in self._job.protocol.objectives:
            if not math.isfinite(self._reported.get(name, 0.0)):
                where = f"epoch {self._done + 1}" if self._iterating else f"report {len(self.curve) + 1}"
                value = self._reported.pop(name)
                raise Ended("diverged", f"{name} is {value} in {where}")
        if not self._iterating:
            self._done += 1
            self._end_epoch()
            self._since = time.perf_counter()
        elif self._link.stopping and not self._link.keep:
            self._link.check()

    def _end_epoch(self) -> None:
        """Between two epochs: everything that the function holds is as the checkpoint is to have it."""
        sent = self._send()
        if self._rehearsal:
            raise Ended("complete")
        if self._link.stopping:
            if self._link.keep:
                self._save()
            self._link.check()
        if sent:
            self._link.ask("go_on")  # the answer comes after a request to stop, where the report led to one
        limit = self._job.protocol.max_seconds
        if limit is not None and self.phase == "search" and self.seconds >= limit:
            raise Ended("complete", "max_seconds")
        if self._state is not None and self._checkpoints.due(self._size):
            self._save()

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
            if self.phase == "search" and not self._rehearsal:
                self._link.tell(Attribute(self._job.trial_id, "user", name, value))

    # Checkpoints --------------------------------------------------------------------------------------------------

    def resume(self, **objects: Any) -> SimpleNamespace:
        """Give hpo what the training consists of: it is kept in checkpoints, and restored from the last one.

        Each is an object with state_dict and load_state_dict (a module, an optimizer, a schedule, a GradScaler), a
        random generator, or plain data: numbers, text, tensors, arrays, lists and dicts of them. Returns a namespace
        of them, restored; assign to it what changes: `state = run.resume(model=model, best=0.0)`, `state.best = f1`.
        Call it once, before the first epoch. Random states of torch, NumPy and Python are kept, too.
        """
        if self._state is not None:
            raise RuntimeError("run.resume(...) was called already; give it everything at once")
        if self._done or self._iterating:
            raise RuntimeError("call run.resume(...) before the first epoch")
        self._state = SimpleNamespace(**objects)
        tensors: dict[str, torch.Tensor] = {}
        tree_of({name: state_of(value) for name, value in objects.items()}, tensors, "state")
        self._size = sum(tensor.nbytes for tensor in tensors.values())
        snapshot = None if self._fresh or self._rehearsal else self._checkpoints.load()
        if snapshot is not None:
            self._restore(self._state, snapshot)
        return self._state

    @property
    def checkpoint_dir(self) -> Path:
        """A folder for files of your own: it outlives a pause and a crash, and is empty when the trial begins."""
        folder = Path(self._job.checkpoint) / "own"
        if links_below(folder, folder.parents[2]):
            raise OSError(f"{folder} leads elsewhere by a link, and hpo keeps nothing behind one")
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def _restore(self, state: SimpleNamespace, snapshot: TrainingSnapshot) -> None:
        progress = snapshot.progress
        try:
            states = value_of(progress["state"], snapshot.tensors)
            if states.keys() != vars(state).keys():
                raise ValueError(f"it holds {', '.join(states)}, and resume() was given {', '.join(vars(state))}")
            for name, value in list(vars(state).items()):
                setattr(state, name, restore(value, states[name]))
            self._random = value_of(progress["random"], snapshot.tensors)
        except Exception as error:
            raise BeginAgain(f"{type(error).__name__}: {str(error).strip().splitlines()[0]}") from error
        self._done, self.seconds, self.curve = progress["done"], progress["seconds"], progress["curve"]
        self.resumed_epoch = self._done
        restore_generators(self._random)
        for row in self.curve:
            fields = {**row, "trial_id": self._job.trial_id, "replayed": True}
            self._link.send(Epoch(**{**fields, "report": [(step, value) for step, value in row["report"]]}))

    def _save(self) -> None:
        if self._state is None:
            return
        tensors: dict[str, torch.Tensor] = {}
        states = {name: state_of(value) for name, value in vars(self._state).items()}
        progress = {
            "state": tree_of(states, tensors, "state"),
            "random": tree_of(generators(), tensors, "random"),
            "done": self._done,
            "seconds": self.seconds,
            "curve": self.curve,
        }
        self._size = sum(tensor.nbytes for tensor in tensors.values())
        self._checkpoints.save(TrainingSnapshot(progress, tensors))

    def close(self) -> None:
        """The function has returned: send what it reported last."""
        if self._reported:
            self._done += 1
            self._send()

    # Data ---------------------------------------------------------------------------------------------------------

    def loader(self, dataset: Any, **options: Any) -> EpochLoader:
        """A DataLoader of `dataset` with DataLoader's options, in an order that a resumed run goes on with.

        Each pass is shuffled by a seed of the trial, the loader, the epoch and the pass in it. A trial that is pruned
        ends at its next batch.
        """
        self._loaders += 1
        number = self._loaders

        def seed() -> int:
            self._passes += 1
            return loader_seed(self.seed, number, self._done, self._passes)

        at_most = REHEARSED_BATCHES if self._rehearsal else None
        return EpochLoader(dataset, seed=seed, look=self._look, at_most=at_most, **options)

    def _look(self) -> None:
        """Before a batch: end at once where nothing is to be kept, and else when the epoch has had its chance."""
        if not self._link.stopping:
            return
        now = time.perf_counter()
        if not self._stopping:
            self._stopping, self._stopping_since = True, now
        if not self._link.keep or now - self._stopping_since > LONGEST_PAUSE:
            self._link.check()

    def __repr__(self) -> str:
        return f"Run(number={self.number}, phase={self.phase!r}, params={self.params})"

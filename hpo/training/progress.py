"""How far a trial has come: everything about it that is not a tensor, in values that JSON can hold."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from statistics import fmean
from typing import Any

from hpo.messages import Epoch

__all__ = ["StopRequest", "TrainingProgress", "divergence"]

EXPLODED = 1e3
"""A validation loss of this many times the loss of a guess counts as diverged: no model recovers from it within a
trial, and its accuracy would only mislead the sampler."""


@dataclass
class StopRequest:
    """Set by another thread, read before every step. Set `keep` before `asked`.

    keep: whether the trial will resume later, so that a checkpoint is worth writing
    """

    keep: bool = True
    asked: bool = False


@dataclass
class TrainingProgress:
    """epoch, step: how many are finished, of this fold and of the current epoch
    best:        the metrics of this fold's best epoch, and its number (from 1) under "epoch"
    results:     the same of each finished fold
    curve:       every epoch reported so far
    """

    data_checksum: str
    fold: int = 0
    epoch: int = 0
    step: int = 0
    train_seconds: float = 0.0
    eval_seconds: float = 0.0
    epoch_seconds: float = 0.0
    initial_loss: float | None = None
    best: dict[str, float] = field(default_factory=dict)
    results: list[dict[str, float]] = field(default_factory=list)
    curve: list[dict[str, Any]] = field(default_factory=list)

    def report(self, epoch: Epoch) -> None:
        self.curve.append(asdict(epoch))

    def reported(self, trial_id: int) -> list[Epoch]:
        return [Epoch(**{**fields, "trial_id": trial_id, "replayed": True}) for fields in self.curve]

    def as_json(self) -> dict[str, Any]:
        return asdict(self)

    def end_epoch(self) -> float:
        """Move on to the next epoch. Returns the seconds that the last one trained."""
        seconds = self.epoch_seconds
        self.epoch, self.step, self.epoch_seconds = self.epoch + 1, 0, 0.0
        return seconds

    def end_fold(self) -> None:
        """Record the fold's best and move on to the next fold."""
        if self.best:
            self.results.append(self.best)
        self.fold, self.epoch, self.step, self.best = self.fold + 1, 0, 0, {}

    def mean(self) -> dict[str, float]:
        """Every metric's mean over the finished folds."""
        if not self.results:
            return {}
        return {name: fmean(result[name] for result in self.results) for name in self.results[0]}


def divergence(metrics: Mapping[str, float], guess: float | None) -> str | None:
    """Which loss of an epoch is not finite or has exploded, in words; None when training may continue.

    guess: the loss of a model that only guesses; None where nobody can say what a large loss is
    """
    for name in ("train_loss", "val_loss"):
        loss = metrics.get(name, 0.0)
        if not math.isfinite(loss):
            return f"{name} is {loss}"
    if guess is None:
        return None
    loss, limit = metrics.get("val_loss", 0.0), EXPLODED * guess
    return f"val_loss is {loss:.3g}, above {limit:.0f}" if loss > limit else None

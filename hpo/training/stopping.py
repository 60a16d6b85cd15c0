"""When a trial has trained enough: early stopping, the rule "epoch >= N and metric >= x", and which epoch was best."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from hpo.messages import Protocol

__all__ = ["SCORES", "Stopping"]

SCORES = {"val_accuracy": True, "val_loss": False, "train_accuracy": True, "train_loss": False}
"""The metrics that every epoch has, and whether more is better."""


class Stopping:
    """Remembers the best epoch, and says when to stop.

    An epoch is the best when its score is strictly better than all before it. The patience starts again only when the
    score is better by more than `min_delta` than the last score that restarted it.
    """

    def __init__(self, protocol: Protocol, directions: Mapping[str, str] | None = None) -> None:
        """directions: "maximize" or "minimize" for each metric of the study's own"""
        early, own = protocol.early_stopping, {name: way == "maximize" for name, way in (directions or {}).items()}
        self._scores = scores = {**SCORES, **own}
        self.monitor = early.monitor if early else _scored_by(protocol, scores)
        self.maximize = scores[self.monitor]
        self.keeps_weights = early is not None or protocol.keep_weights
        self.best_epoch = 0
        self._patience = early.patience if early else math.inf
        self._min_delta = early.min_delta if early else 0.0
        self._target = protocol.stop_when
        self._objectives = set(protocol.objectives)
        self._best = self._mark = -math.inf
        self._waited = 0
        self._rule_met = False

    def maximizes(self, metric: str) -> bool:
        """Whether more is better of a metric that an epoch has."""
        return self._scores[metric]

    @property
    def goes_by(self) -> set[str]:
        """The metrics of an epoch without which nothing can be decided."""
        target = {self._target.metric} if self._target is not None else set()
        return {self.monitor} | target | (self._objectives & self._scores.keys())

    def update(self, epoch: int, metrics: Mapping[str, float]) -> bool:
        """Take in `epoch` (from 1); true when it is the best so far."""
        score = metrics[self.monitor] if self.maximize else -metrics[self.monitor]
        target = self._target
        self._rule_met = target is not None and epoch >= target.epoch and metrics[target.metric] >= target.at_least
        if score > self._mark + self._min_delta:
            self._mark, self._waited = score, 0
        else:
            self._waited += 1
        if score > self._best:
            self._best, self.best_epoch = score, epoch
            return True
        return False

    @property
    def over(self) -> bool:
        """Whether training should end after the last epoch taken in."""
        return self._rule_met or self._waited >= self._patience

    def state_dict(self) -> dict[str, Any]:
        return {
            "best": self._best,
            "best_epoch": self.best_epoch,
            "mark": self._mark,
            "waited": self._waited,
            "rule_met": self._rule_met,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._best, self.best_epoch = state["best"], state["best_epoch"]
        self._mark, self._waited, self._rule_met = state["mark"], state["waited"], state["rule_met"]


def _scored_by(protocol: Protocol, scores: Mapping[str, bool]) -> str:
    """The first objective that an epoch has a value for; val_accuracy in a study of only size and speed."""
    return next((name for name in protocol.objectives if name in scores), "val_accuracy")

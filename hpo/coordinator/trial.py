"""A trial in the hands of a coordinator, and what the ledger tells the loop about it."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from optuna.trial import TrialState

from hpo.wording import STATES

__all__ = ["COUNT_NAMES", "Assigned", "Away", "Back", "Broken", "Counts", "Event", "Lost", "Saved", "Trial"]


COUNT_NAMES = {TrialState[name]: shown for name, shown in STATES.items()}
"""Optuna's states under the names people see."""


@dataclass
class Trial:
    """One trial that this coordinator holds the lease of.

    config:  resolved: what the trainer reads. params: what Optuna stores.
    attempt: counted from 1; grows when a trainer died under the trial or a host lost it
    got_on:  an epoch was finished in this attempt
    """

    trial_id: int
    number: int
    attempt: int
    params: dict[str, Any]
    config: dict[str, Any]
    checkpoint: str
    epoch: int = 0
    got_on: bool = False
    score: float | None = None
    facts: dict[str, Any] = field(default_factory=dict)

    @property
    def attempts(self) -> int:
        """Tries since the trial last got anywhere, as the database counts them too (tables.COUNTED_ATTEMPTS)."""
        return 1 if self.got_on else self.attempt


@dataclass(frozen=True)
class Assigned:
    """A new trial for whichever slot is free first."""

    trial: Trial


@dataclass(frozen=True)
class Lost:
    """The trial is no longer ours: ended from outside, or its lease went to another worker. Drop it unsaved."""

    trial_id: int
    reason: str


@dataclass(frozen=True)
class Counts:
    """The study as the database has it. `exhausted`: nothing is left to hand out and nothing may be created.

    until: the deadline behind `seconds_left`. asked: False before the database was
    """

    complete: int = 0
    pruned: int = 0
    failed: int = 0
    running: int = 0
    waiting: int = 0
    seconds_left: float | None = None
    trials_target: int | None = None
    exhausted: bool = False
    until: datetime | None = None
    asked: bool = False

    @property
    def finished(self) -> int:
        return self.complete + self.pruned + self.failed

    def deadline(self, leave_at: float | None) -> float | None:
        """The study's end by time.monotonic(), or `leave_at` if that comes first; None when neither is set."""
        ends = (leave_at, None if self.seconds_left is None else time.monotonic() + self.seconds_left)
        return min((end for end in ends if end is not None), default=None)

    def within(self, leave_trials: int | None) -> Counts:
        """The same, with a trials target no higher than `leave_trials`."""
        targets = [target for target in (self.trials_target, leave_trials) if target is not None]
        return replace(self, trials_target=min(targets, default=None))

    def as_mapping(self) -> Mapping[str, int]:
        return {name: getattr(self, name) for name in COUNT_NAMES.values()}


@dataclass(frozen=True)
class Away:
    """The database does not answer; outcomes are kept in memory and written when it does."""

    reason: str


@dataclass(frozen=True)
class Back:
    """The database answers again."""

    seconds: float


@dataclass(frozen=True)
class Broken:
    """The ledger cannot go on: a bug, or a database that changed under it."""

    error: BaseException


@dataclass(frozen=True)
class Saved:
    """The database has the ends of these trials."""

    trial_ids: tuple[int, ...]


Event = Assigned | Saved | Lost | Counts | Away | Back | Broken

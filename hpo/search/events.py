"""What the storage thread tells the loop."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime

from hpo.storage.optuna_schema import STATES
from hpo.trainers.trial import Trial

__all__ = [
    "Counts",
    "DatabaseRecovered",
    "DatabaseUnavailable",
    "Event",
    "FatalError",
    "Notice",
    "Trial",
    "TrialAssigned",
    "TrialLost",
    "TrialRefused",
    "TrialsSaved",
]


@dataclass(frozen=True)
class TrialAssigned:
    """A new trial for whichever slot is free first."""

    trial: Trial


@dataclass(frozen=True)
class TrialLost:
    """The trial is no longer ours: it was ended from outside, or another worker has its lease. Drop it unsaved."""

    trial_id: int
    reason: str


@dataclass(frozen=True)
class TrialRefused:
    """A trial that somebody enqueued cannot be trained, and has failed."""

    number: int
    reason: str


@dataclass(frozen=True)
class Counts:
    """The study as the database has it. `exhausted`: no trial waits and none may be created, where it is `converged`
    because too little is left to gain.

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
    converged: bool = False
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
        return {name: getattr(self, name) for name in STATES.values()}


@dataclass(frozen=True)
class DatabaseUnavailable:
    """The database does not answer; results are kept in memory and saved when it does."""

    reason: str


@dataclass(frozen=True)
class DatabaseRecovered:
    """The database answers again."""

    seconds: float


@dataclass(frozen=True)
class FatalError:
    """The storage thread cannot continue: a bug, or the database changed under it."""

    error: BaseException


@dataclass(frozen=True)
class Notice:
    """For the user: what this host waits for and what would end it, or what becomes of paused trials."""

    sentence: str


@dataclass(frozen=True)
class TrialsSaved:
    """The database has the ends of these trials."""

    trial_ids: tuple[int, ...]


Event = (
    TrialAssigned
    | TrialRefused
    | TrialsSaved
    | TrialLost
    | Counts
    | Notice
    | DatabaseUnavailable
    | DatabaseRecovered
    | FatalError
)

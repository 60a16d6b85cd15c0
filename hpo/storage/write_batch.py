"""What waits to be written: a batch that the loop fills in memory and the storage thread saves in one transaction."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from optuna.distributions import BaseDistribution
from optuna.trial import TrialState

__all__ = ["EpochRow", "Requeue", "SaveResult", "TrialResult", "WriteBatch"]


@dataclass(frozen=True)
class EpochRow:
    """One row of hpo_epochs; `epoch` counts from 1. Any number may be NaN, infinite or None.

    metrics: what the user's own code reported, by name; its `epoch` is the step of that report, which may be 0
    """

    trial_id: int
    epoch: int
    train_loss: float | None = None
    train_accuracy: float | None = None
    val_loss: float | None = None
    val_accuracy: float | None = None
    lr: float | None = None
    seconds: float | None = None
    metrics: Mapping[str, float] | None = None


@dataclass(frozen=True)
class TrialResult:
    """A trial's outcome: COMPLETE with values, PRUNED with or without, FAIL without."""

    trial_id: int
    state: TrialState
    values: tuple[float, ...] | None = None


@dataclass(frozen=True)
class Requeue:
    """A trial released unfinished: WAITING again. `trainer_deaths` is 1 if its trainer died under it, and 0
    if nothing went wrong (deadline, SIGTERM)."""

    trial_id: int
    trainer_deaths: int = 0
    checkpoint: str | None = None


@dataclass
class WriteBatch:
    """Keyed so that a later write of the same thing replaces the earlier one; saving a batch twice is harmless."""

    params: dict[int, dict[str, tuple[float, BaseDistribution]]] = field(default_factory=dict)
    intermediate: dict[int, dict[int, float]] = field(default_factory=dict)
    epochs: dict[tuple[int, int], EpochRow] = field(default_factory=dict)
    user_attrs: dict[int, dict[str, Any]] = field(default_factory=dict)
    system_attrs: dict[int, dict[str, Any]] = field(default_factory=dict)
    study_user_attrs: dict[int, dict[str, Any]] = field(default_factory=dict)
    study_system_attrs: dict[int, dict[str, Any]] = field(default_factory=dict)
    finishes: dict[int, TrialResult] = field(default_factory=dict)
    requeues: dict[int, Requeue] = field(default_factory=dict)
    notes: dict[int, str | None] = field(default_factory=dict)

    def set_param(self, trial_id: int, name: str, internal: float, distribution: BaseDistribution) -> None:
        self.params.setdefault(trial_id, {})[name] = (internal, distribution)

    def report(self, trial_id: int, step: int, value: float) -> None:
        self.intermediate.setdefault(trial_id, {})[step] = value

    def epoch(self, row: EpochRow) -> None:
        self.epochs[row.trial_id, row.epoch] = row

    def set_user_attr(self, trial_id: int, key: str, value: Any) -> None:
        self.user_attrs.setdefault(trial_id, {})[key] = value

    def set_system_attr(self, trial_id: int, key: str, value: Any) -> None:
        self.system_attrs.setdefault(trial_id, {})[key] = value

    def note(self, trial_id: int, note: str | None) -> None:
        """A trial as it stands after this batch (hpo.storage.notes)."""
        self.notes[trial_id] = note

    def finish(self, finish: TrialResult) -> None:
        """The outcome of a trial; it wins over a requeue of the same trial."""
        self.finishes[finish.trial_id] = finish
        self.requeues.pop(finish.trial_id, None)

    def requeue(self, requeue: Requeue) -> None:
        if requeue.trial_id not in self.finishes:
            self.requeues[requeue.trial_id] = requeue

    def merge(self, later: WriteBatch) -> None:
        """Take over everything of `later`, which wins where both say something."""
        for name in ("params", "intermediate", "user_attrs", "system_attrs", "study_user_attrs", "study_system_attrs"):
            mine: dict[int, dict[Any, Any]] = getattr(self, name)
            for key, values in getattr(later, name).items():
                mine.setdefault(key, {}).update(values)
        self.epochs.update(later.epochs)
        self.notes.update(later.notes)
        for requeue in later.requeues.values():
            self.requeue(requeue)
        for finish in later.finishes.values():
            self.finish(finish)

    def trial_ids(self) -> set[int]:
        """Every trial that this batch writes about."""
        found = {trial_id for trial_id, _ in self.epochs}
        return found.union(
            self.params, self.intermediate, self.user_attrs, self.system_attrs, self.finishes, self.requeues
        )

    def drop(self, trial_ids: Iterable[int]) -> None:
        """Forget everything about these trials."""
        gone = set(trial_ids)
        by_trial: tuple[dict[int, Any], ...] = (
            self.params,
            self.intermediate,
            self.user_attrs,
            self.system_attrs,
            self.finishes,
            self.requeues,
            self.notes,
        )
        for mapping in by_trial:
            for trial_id in gone & mapping.keys():
                del mapping[trial_id]
        for key in [key for key in self.epochs if key[0] in gone]:
            del self.epochs[key]

    def __bool__(self) -> bool:
        return bool(self.trial_ids() or self.study_user_attrs or self.study_system_attrs)


@dataclass(frozen=True)
class SaveResult:
    """What became of a batch.

    lost:      trials no longer ours, and the state they were found in (None: deleted); nothing of ours was written
    finished:  trials whose outcome stands in the database, with the time of it in Optuna's convention (naive, local)
    requeued:  trials that are waiting again
    """

    lost: dict[int, TrialState | None] = field(default_factory=dict)
    finished: dict[int, datetime | None] = field(default_factory=dict)
    requeued: frozenset[int] = frozenset()

"""A trial in a coordinator's hands."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

__all__ = ["Trial"]


@dataclass
class Trial:
    """One trial whose lease this coordinator holds.

    config:  resolved: what the trainer reads. params: what Optuna stores.
    attempt: counted from 1; grows when a trainer dies under the trial or a host loses it
    got_on:  this attempt has finished an epoch
    noted: names of user attributes that the user's own function has set
    steps: reported in this attempt, those that a resumed one reports again among them
    ahead: values for an objective that has not asked yet, as hpo.own_messages.OwnTraining has them
    until: the epoch after which it is to wait; 0 for one that goes to its end
    trainer_deaths: how often its trainer died since it last finished an epoch, on any host; lost hosts do not count
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
    trainer_deaths: int = 0
    until: int = 0
    facts: dict[str, Any] = field(default_factory=dict)
    noted: set[str] = field(default_factory=set)
    steps: set[int] = field(default_factory=set)
    ahead: dict[str, list[Any]] = field(default_factory=dict)

    def reported(self, values: Sequence[tuple[int, float]]) -> None:
        """At least one (step, value) pair for the pruner came from this attempt."""
        self.steps.update(step for step, _ in values)
        self.score = values[-1][1]

    @property
    def attempts(self) -> int:
        """Attempts since the trial last finished an epoch, as the database counts them (tables.COUNTED_ATTEMPTS)."""
        return 1 if self.got_on else self.attempt

    def count_trainer_death(self) -> None:
        self.trainer_deaths = 1 if self.got_on else self.trainer_deaths + 1

"""What a coordinator shows about itself: an immutable snapshot, taken whenever something changed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hpo.insight import Insight

__all__ = ["Best", "SlotView", "Snapshot"]


@dataclass(frozen=True)
class Best:
    """The best trial so far, by hpo.results.best; with several objectives, by the first one."""

    trial: int
    value: float
    params: Mapping[str, Any]


@dataclass(frozen=True)
class SlotView:
    """One line of the display.

    state: starting | idle | training | restarting | quarantined
    epochs: of a whole trial, 0 where that is not known
    score: the objective after `epoch` epochs; seconds: since the slot got the trial
    """

    device: str
    state: str
    trial: int | None = None
    epoch: int = 0
    epochs: int = 0
    score: float | None = None
    seconds: float = 0.0

    @property
    def epoch_text(self) -> str:
        """`3/20`; `3` where nobody but the training knows how many there will be."""
        return f"{self.epoch}/{self.epochs}" if self.epochs else str(self.epoch)


@dataclass(frozen=True)
class Snapshot:
    """counts has the keys complete, pruned, failed, running, waiting, over the whole study (all hosts). A trial that
    was sampled early and has not started counts as waiting, so that `running` counts busy slots.

    insight: what the finished trials say, some seconds old; None before the first has ended
    database_away_seconds: how long the database has not answered; 0 while it answers
    """

    study: str
    objective: str
    direction: str
    counts: Mapping[str, int]
    best: Best | None
    seconds_left: float | None
    trials_target: int | None
    elapsed_seconds: float
    slots: tuple[SlotView, ...] = field(default=())
    database_away_seconds: float = 0.0
    insight: Insight | None = None

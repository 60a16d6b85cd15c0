"""`hpo run --debug`: a loop that hands out one trial, and ends when it has ended."""

from __future__ import annotations

from typing import Any

from hpo.search.loop import Loop
from hpo.trainers.pool import TrainerPool
from hpo.wording import params_text

__all__ = ["OneTrialLoop"]


class OneTrialLoop(Loop):
    """A Loop with one slot, which trains in this very process. No trial is asked ahead: it would be left waiting."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.pool = TrainerPool(self.pool.slots, ahead=False)

    def _hand_out(self) -> None:
        super()._hand_out()
        if self._ending:
            return
        for slot in self.pool.slots:
            if slot.trial is not None:
                self._ending = True
                shown = params_text(slot.trial.params)
                self._progress.notice(f"trial {slot.trial.number} begins{': ' if shown else ''}{shown}")

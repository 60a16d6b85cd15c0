"""Tells the user every minute what a run without anything to do waits for, and what would end the wait."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from sqlalchemy.engine import Connection

from hpo.storage import queries

__all__ = ["AGAIN_SECONDS", "FIRST_SECONDS", "IdleNotice", "waited_for"]

FIRST_SECONDS, AGAIN_SECONDS = 10.0, 60.0
"""Seconds without a claim until the user is told, and until the user is told again."""

SHOWN = 5
"""The most trials that a sentence names."""


class IdleNotice:
    """Used by the storage thread whenever it looks for a trial and has none to train."""

    def __init__(self, study_id: int, worker_id: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._study_id, self._worker_id, self._clock = study_id, worker_id, clock
        self._due: float | None = None

    def busy(self) -> None:
        """There is something to train: the wait is over."""
        self._due = None

    def sentence(self, connection: Connection) -> str:
        """What the run waits for, if it is time to tell the user; else "", without asking the database."""
        now = self._clock()
        if self._due is None:
            self._due = now + FIRST_SECONDS
        if now < self._due:
            return ""
        self._due = now + AGAIN_SECONDS
        return waited_for(
            queries.held_elsewhere(connection, self._study_id, self._worker_id),
            queries.budget(connection, self._study_id),
        )


def waited_for(held: Sequence[queries.HeldTrial], budget: queries.Budget) -> str:
    """One sentence: which trials others have, and what ends the wait."""
    without = [trial for trial in held if trial.host is None]
    leased = [trial for trial in held if trial.host is not None]
    parts = []
    if leased:
        places = ", ".join(f"{trial.number} on {trial.host}" for trial in leased[:SHOWN])
        parts.append(f"waiting for {_trials(leased)} of other workers ({places}{_more(leased)})")
    if without:
        numbers = ", ".join(str(trial.number) for trial in without[:SHOWN])
        parts.append(
            f"waiting for {_trials(without)} that plain Optuna began and did not finish ({numbers}{_more(without)}); "
            "if the process that asked for it is gone, `hpo doctor --fix` puts it into the queue, or fail it in the "
            "dashboard"
        )
    if parts:
        return "; ".join(parts)
    target = "" if budget.trials_target is None else f" of {budget.trials_target}"
    return f"nothing to train: {budget.finished}{target} trials are finished, and none waits or may be begun"


def _trials(trials: Sequence[queries.HeldTrial]) -> str:
    return f"{len(trials)} trial{'s' if len(trials) != 1 else ''}"


def _more(trials: Sequence[queries.HeldTrial]) -> str:
    return ", ..." if len(trials) > SHOWN else ""

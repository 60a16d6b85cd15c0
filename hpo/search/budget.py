"""What happens to a study's deadline and trials target when a run opens it, especially while another run is active.

If a run is already active, the new one joins it. A larger budget extends both, and both say so; a smaller one ends only
the new run, when its own time is over or its own trials are done.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy.engine import Connection

from hpo.errors import UsageError
from hpo.storage import queries

__all__ = ["BudgetDecision", "agree", "check_trials", "described", "initial_budget"]

MOST_TRIALS = 2**31 - 1
"""Optuna numbers trials in a column of 32-bit integers."""


@dataclass(frozen=True)
class BudgetDecision:
    """What a run works under.

    message:       a sentence for the user when another run is already active; else ""
    leave_seconds: from now until this run leaves, sooner than the study's deadline; None when it stays until then
    leave_trials:  the study's finished trials at which this run leaves, fewer than the study's target; None likewise
    """

    budget: queries.Budget
    message: str = ""
    leave_seconds: float | None = None
    leave_trials: int | None = None

    def reached(self, seconds: float, finished: int) -> str:
        """Which of its own limits a run has reached after `seconds`: "deadline", "trials", or ""."""
        if self.leave_seconds is not None and seconds >= self.leave_seconds:
            return "deadline"
        return "trials" if self.leave_trials is not None and finished >= self.leave_trials else ""


def agree(
    connection: Connection,
    study_id: int,
    others: Sequence[queries.WorkerRow],
    seconds: float | None,
    trials: int | None,
) -> BudgetDecision:
    """Give the study this budget, or join the budget of `others`. Lock the budget before you look for `others`."""
    before = queries.budget(connection, study_id)
    if not others or before.used_up:
        queries.set_budget(connection, study_id, seconds, trials)
        return BudgetDecision(queries.budget(connection, study_id))
    left, target = before.seconds_left, before.trials_target
    later = left is not None and seconds is not None and seconds > left
    more = target is not None and trials is not None and trials > target
    if later or more:
        queries.set_budget(connection, study_id, seconds if later else left, trials if more else target)
    after = queries.budget(connection, study_id)
    shorter = seconds if seconds is not None and (left is None or seconds < left) else None
    fewer = trials if trials is not None and (target is None or trials < target) else None
    parts = [f"another run works on this study {described(before.deadline, target)}; this one joins it"]
    if later or more:
        parts.append(f"and extends that: {described(after.deadline, after.trials_target)}")
    leaves = [] if shorter is None else [f"at {_clock(time.time() + shorter)}"]
    leaves += [] if fewer is None else [f"after {_in_all(fewer)}"]
    if leaves:
        parts.append(f"and leaves {' or '.join(leaves)}, by its own limit")
    return BudgetDecision(after, ", ".join(parts), shorter, fewer)


def initial_budget(connection: Connection, study_id: int, seconds: float | None, trials: int | None) -> BudgetDecision:
    """Give the study this budget. A deadline that has been set stays until the budget is used up."""
    before = queries.budget(connection, study_id)
    if not before.used_up:
        seconds = before.seconds_left if before.seconds_left is not None else seconds
        trials = trials if trials is not None else before.trials_target
    queries.set_budget(connection, study_id, seconds, trials)
    return BudgetDecision(queries.budget(connection, study_id))


def check_trials(trials: int | None) -> None:
    """Raise UsageError for a number of trials that no study can have."""
    if trials is not None and not 1 <= trials <= MOST_TRIALS:
        raise UsageError(f"--trials {trials} must be at least 1 and at most {MOST_TRIALS}")


def described(deadline: datetime | None, trials: int | None) -> str:
    """`until 07:05:54`, `for 20 trials in all`, both, or `without a limit`."""
    parts = [] if deadline is None else [f"until {_clock(deadline.timestamp())}"]
    parts += [] if trials is None else [f"for {_in_all(trials)}"]
    return " or ".join(parts) or "without a limit"


def _in_all(trials: int) -> str:
    return f"{trials} trial{'s' if trials != 1 else ''} in all"


def _clock(seconds: float) -> str:
    moment = datetime.fromtimestamp(seconds)
    return f"{moment:%H:%M:%S}" if moment.date() == datetime.now().date() else f"{moment:%Y-%m-%d %H:%M:%S}"

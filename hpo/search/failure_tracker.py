"""Notices when trial after trial fails in the same way: first tells the user, then raises."""

from __future__ import annotations

import re
from collections import Counter, deque
from collections.abc import Iterable, Mapping
from typing import Any

from optuna.trial import FrozenTrial, TrialState

from hpo.errors import RepeatedFailure
from hpo.search.outcomes import Outcome
from hpo.storage.trial_record import REFUSED, record_of

__all__ = ["FailureTracker", "check_not_all_failed", "same_error"]

SAME_FAILURES = 5
"""The same error in this many trials in a row is a bug to report, not bad luck."""
OUT_OF_MEMORY = 3
"""The user is told after this many trials in a row ran out of memory. The sampler learns too; a person may know why."""

_AGAIN = "run again with --retry-failed, without which they count as finished"


class FailureTracker:
    """Watches the outcomes of one coordinator's trials, in the order in which they end."""

    def __init__(self, study: str) -> None:
        self._study = study
        self._failures: deque[str] = deque(maxlen=SAME_FAILURES)
        self._out_of_memory = 0
        self._told = False

    def record(self, outcome: Outcome) -> str | None:
        """A sentence for the user, or "". Raises RepeatedFailure after SAME_FAILURES in a row."""
        failure = outcome.attributes.get("failure", {})
        self._failures.append(same_error(failure) if outcome.state is TrialState.FAIL else "")
        if len(self._failures) == SAME_FAILURES and self._failures[0] and len(set(self._failures)) == 1:
            raise RepeatedFailure(
                f"{SAME_FAILURES} trials in a row failed with the same error: {outcome.line}",
                evidence=failure.get("traceback", [])[-6:],
                next=f"fix the cause, then {_AGAIN}; add --changed-code if others ended well",
            )
        self._out_of_memory = self._out_of_memory + 1 if failure.get("kind") == "out_of_memory" else 0
        if self._out_of_memory and self._out_of_memory % OUT_OF_MEMORY == 0:
            return (
                f"{self._out_of_memory} trials in a row ran out of memory ({failure['reason']}); "
                "if this continues, lower the upper bound of batch size or width, or use fewer trainers per device"
            )
        if failure.get("traceback") and not self._told:
            self._told = True
            return f"`hpo trials --study {self._study} --state failed` shows the traceback"
        return None


def same_error(failure: Mapping[str, Any]) -> str:
    """What failures of one cause have in common: type and line of the user's code.

    Where the line is unknown, type and message without their numbers: shapes and sizes are the trial's, not the bug's.
    """
    reason = str(failure.get("reason", ""))
    if where := failure.get("where"):
        return f"{reason.partition(':')[0]} {where}"
    return re.sub(r"[-+]?\d+(\.\d+)?(e[-+]?\d+)?", "#", reason) or str(failure.get("kind", "unknown"))


def check_not_all_failed(study: str, counts: Mapping[str, int], trials: Iterable[FrozenTrial]) -> None:
    """Raise RepeatedFailure when every trial that finished ended in an error: that was no search."""
    if not counts["failed"] or counts["complete"] or counts["pruned"]:
        return
    failures = [record["failure"] for record in map(record_of, trials) if "failure" in record]
    failures = [failure for failure in failures if failure.get("kind") != REFUSED]  # the mistake of whoever enqueued it
    if not failures:
        return  # ended by hand, for example in the dashboard: no error, and so no bug
    common, often = Counter(same_error(failure) for failure in failures).most_common(1)[0]
    example = next(failure for failure in failures if same_error(failure) == common)
    where = f" ({example['where']})" if "where" in example else ""
    raise RepeatedFailure(
        f"every finished trial failed: {counts['failed']}, {often} of them with {example.get('reason', common)}{where}",
        evidence=example.get("traceback", [])[-6:],
        next=f"`hpo trials --study {study} --state failed` shows them; fix the cause, then {_AGAIN}",
    )

"""The same thing going wrong trial after trial: said when it is worth a look, an error when it is surely a bug."""

from __future__ import annotations

import re
from collections import Counter, deque
from collections.abc import Iterable, Mapping
from typing import Any

from optuna.trial import FrozenTrial, TrialState

from hpo.errors import RepeatedFailure
from hpo.search.outcomes import Outcome
from hpo.storage.trial_record import record_of

__all__ = ["FailureTracker", "check_not_all_failed", "same_error"]

SAME_FAILURES = 5
"""The same error in this many trials one after another is a bug to report, not bad luck to go on with."""
OUT_OF_MEMORY = 3
"""So many trials in a row that did not fit deserve a sentence: the sampler learns from them, but a person may know."""


class FailureTracker:
    """Watches the verdicts of one coordinator, in the order in which they fall."""

    def __init__(self, study: str) -> None:
        self._study = study
        self._failures: deque[str] = deque(maxlen=SAME_FAILURES)
        self._out_of_memory = 0
        self._told = False

    def note(self, verdict: Outcome) -> str | None:
        """A sentence for the user, if this verdict makes one due. Raises RepeatedFailure at SAME_FAILURES."""
        failure = verdict.attributes.get("failure", {})
        self._failures.append(same_error(failure) if verdict.state is TrialState.FAIL else "")
        if len(self._failures) == SAME_FAILURES and self._failures[0] and len(set(self._failures)) == 1:
            raise RepeatedFailure(
                f"{SAME_FAILURES} trials in a row failed with the same error: {verdict.line}",
                evidence=failure.get("traceback", [])[-6:],
                next="mend the model or the study; `hpo run` goes on from here (with --changed-code if others worked)",
            )
        self._out_of_memory = self._out_of_memory + 1 if failure.get("kind") == "out_of_memory" else 0
        if self._out_of_memory and self._out_of_memory % OUT_OF_MEMORY == 0:
            return (
                f"{self._out_of_memory} trials in a row ran out of memory ({failure['reason']}); "
                "if that goes on, give batch size or width a lower upper bound, or use fewer workers per device"
            )
        if failure.get("traceback") and not self._told:
            self._told = True
            return f"`hpo trials --study {self._study} --state failed` shows the traceback"
        return None


def same_error(failure: Mapping[str, Any]) -> str:
    """What two failures that have one cause have in common: type and line of the user's code.

    Where the line is unknown, type and message without their numbers: shapes and sizes are the trial's, not the bug's.
    """
    reason = str(failure.get("reason", ""))
    if where := failure.get("where"):
        return f"{reason.partition(':')[0]} {where}"
    return re.sub(r"[-+]?\d+(\.\d+)?(e[-+]?\d+)?", "#", reason) or str(failure.get("kind", "unknown"))


def check_not_all_failed(study: str, counts: Mapping[str, int], trials: Iterable[FrozenTrial]) -> None:
    """Raise RepeatedFailure when trials finished, every one of them by an error: that is no search."""
    if not counts["failed"] or counts["complete"] or counts["pruned"]:
        return
    failures = [record["failure"] for record in map(record_of, trials) if "failure" in record]
    if not failures:
        return  # ended by hand, in the dashboard say: no error, and so no bug
    common, often = Counter(same_error(failure) for failure in failures).most_common(1)[0]
    example = next(failure for failure in failures if same_error(failure) == common)
    where = f" ({example['where']})" if "where" in example else ""
    raise RepeatedFailure(
        f"every finished trial failed: {counts['failed']}, {often} of them with {example.get('reason', common)}{where}",
        evidence=example.get("traceback", [])[-6:],
        next=f"`hpo trials --study {study} --state failed` shows them; mend the model or the study, then run again",
    )

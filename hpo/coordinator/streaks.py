"""The same thing going wrong trial after trial: said when it is worth a look, an error when it is surely a bug."""

from __future__ import annotations

from collections import deque

from hpo.coordinator.outcomes import Verdict
from hpo.errors import RepeatedFailure

__all__ = ["Streaks"]

SAME_FAILURES = 5
"""The same error in this many trials one after another is a bug to report, not bad luck to go on with."""
OUT_OF_MEMORY = 3
"""So many trials in a row that did not fit deserve a sentence: the sampler learns from them, but a person may know."""


class Streaks:
    """Watches the verdicts of one coordinator, in the order in which they fall."""

    def __init__(self) -> None:
        self._failures: deque[str] = deque(maxlen=SAME_FAILURES)
        self._out_of_memory = 0

    def note(self, verdict: Verdict) -> str | None:
        """A sentence for the user, if this verdict makes one due. Raises RepeatedFailure at SAME_FAILURES."""
        failure = verdict.attributes.get("failure", {})
        self._failures.append(verdict.line if verdict.state.name == "FAIL" else "")
        if len(self._failures) == SAME_FAILURES and self._failures[0] and len(set(self._failures)) == 1:
            raise RepeatedFailure(
                f"{SAME_FAILURES} trials in a row failed with the same error: {verdict.line}",
                evidence=failure.get("traceback", [])[-6:],
                next="mend the model or the study; `hpo run` goes on from here",
            )
        self._out_of_memory = self._out_of_memory + 1 if failure.get("kind") == "out_of_memory" else 0
        if self._out_of_memory and self._out_of_memory % OUT_OF_MEMORY == 0:
            return (
                f"{self._out_of_memory} trials in a row ran out of memory ({failure['reason']}); "
                "if that goes on, give batch size or width a lower upper bound, or use fewer workers per device"
            )
        return None

"""The answers of hpo.insight about a search that is under way, for the person watching."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from optuna.trial import FrozenTrial

from hpo.insight import Insight, insight_of
from hpo.results.reading import StudyView
from hpo.study.study import Study
from hpo.user_code import described_bug

__all__ = ["LiveFindings"]

LEAST_SECONDS = 2.0
"""Between two computations."""

SHARE = 0.01
"""Of its time the loop spends at most so much on this, however many trials there are."""


class LiveFindings:
    """Only the loop's thread uses it. Where nobody watches, nothing is computed.

    An error in these answers, of whatever kind, is said once by `say` and costs the answers alone.
    """

    def __init__(
        self, study: Study, say: Callable[[str], None] = lambda _: None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._study, self._say, self._clock = study, say, clock
        self._due = 0.0
        self._latest: Insight | None = None
        self._said = False

    def of(self, trials: Callable[[], Sequence[FrozenTrial]]) -> Insight | None:
        """The latest answers, computed again if that is due; None before a trial has ended, and after an error."""
        started = self._clock()
        if started < self._due:
            return self._latest
        try:
            self._latest = self._compute(trials())
        except Exception as error:  # noqa: BLE001 - whatever it is, the search goes on
            self._latest = None
            if not self._said:
                self._said = True
                self._say(f"what this search has found so far is not shown: {described_bug(error)}; the run goes on")
        spent = self._clock() - started
        self._due = started + spent + max(LEAST_SECONDS, spent / SHARE)
        return self._latest

    def _compute(self, trials: Sequence[FrozenTrial]) -> Insight | None:
        finished = tuple(trial for trial in trials if trial.state.is_finished())
        study = self._study
        view = StudyView(study.name, study.directions, finished, declaration={}, objectives=study.objectives)
        return insight_of(view) if finished else None

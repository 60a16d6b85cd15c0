"""The answers of hpo.insight about a search that is under way, for the person watching."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from optuna.trial import FrozenTrial

from hpo.insight import Insight, insight_of
from hpo.results.reading import StudyView
from hpo.study.study import Study

__all__ = ["LiveFindings"]

LEAST_SECONDS = 2.0
"""Between two computations."""

SHARE = 0.01
"""Of its time the loop spends at most so much on this, however many trials there are."""


class LiveFindings:
    """Only the loop's thread uses it. Where nobody watches, nothing is computed."""

    def __init__(self, study: Study, clock: Callable[[], float] = time.monotonic) -> None:
        self._study, self._clock = study, clock
        self._due = 0.0
        self._latest: Insight | None = None

    def of(self, trials: Callable[[], Sequence[FrozenTrial]]) -> Insight | None:
        """The latest answers, computed again if that is due; None before a trial has ended."""
        started = self._clock()
        if started < self._due:
            return self._latest
        finished = tuple(trial for trial in trials() if trial.state.is_finished())
        if finished:
            study = self._study
            self._latest = insight_of(
                StudyView(study.name, study.directions, finished, declaration={}, objectives=study.objectives)
            )
        spent = self._clock() - started
        self._due = started + spent + max(LEAST_SECONDS, spent / SHARE)
        return self._latest

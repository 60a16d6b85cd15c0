"""What a run has found so far is told to whoever watches. Whatever goes wrong in that, the run goes on."""

from __future__ import annotations

from typing import Any

import optuna
import pytest
from optuna.trial import FrozenTrial

from hpo import Objective, Study
from hpo.insight import Insight
from hpo.search import findings, reporting
from hpo.search.events import Counts
from hpo.search.findings import LiveFindings
from hpo.search.live_counts import LiveCounts
from hpo.search.reporting import SearchProgress
from hpo.storage.study_cache import StudyCache

STUDY = Study(name="watched", objective=Objective("train:objective", direction="maximize"))
COUNTS = Counts(complete=1)


class Thread:
    """As much of a storage thread as a picture needs: one trial that has ended."""

    def trials(self) -> list[FrozenTrial]:
        return [optuna.trial.create_trial(value=0.5)]

    def finished_since(self, revision: int) -> tuple[list[FrozenTrial], int]:
        return self.trials()[revision:], 1

    def live_counts(self) -> LiveCounts:
        cache = StudyCache(1, "watched", [optuna.study.StudyDirection.MAXIMIZE])
        return LiveCounts(cache, 1, set())


def broken(_view: Any) -> Insight:
    raise KeyError("a key that nobody thought of")


def test_an_error_in_the_answers_is_said_once_and_is_no_end(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    now = [0.0]
    found = LiveFindings(STUDY, said.append, clock=lambda: now[0])
    trials = Thread().trials
    assert found.of(trials) is not None
    monkeypatch.setattr(findings, "insight_of", broken)
    for second in (10.0, 20.0, 30.0):
        now[0] = second
        assert found.of(trials) is None, "no answer is better than an old one"
    [sentence] = said
    assert "KeyError: 'a key that nobody thought of' (test_live_findings.py, line " in sentence
    assert sentence.endswith("; the run goes on")
    monkeypatch.undo()
    now[0] = 40.0
    assert found.of(trials) is not None


def test_an_error_in_the_picture_is_said_once_and_ends_no_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """The answers, the picture itself, a heartbeat that cannot be written: trials are worth more."""
    said: list[str] = []
    shown: list[Any] = []

    def show(snapshot: Any) -> None:
        shown.append(snapshot)
        raise PermissionError(13, "Permission denied", "/run/heartbeat")

    monkeypatch.setattr(findings, "insight_of", broken)
    monkeypatch.setattr(reporting, "SNAPSHOT_SECONDS", 0.0)
    thread: Any = Thread()
    progress = SearchProgress(STUDY, thread, {}, on_snapshot=show, on_notice=said.append)
    for _ in range(3):
        progress.show(COUNTS, None, ())
    assert [snapshot.best.value for snapshot in shown] == [0.5] * 3, "all that could be known is shown"
    assert len(said) == 2
    assert "what this search has found so far is not shown" in said[0]
    assert "the picture of this run is incomplete: PermissionError" in said[1]

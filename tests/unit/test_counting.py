"""Trials counted for people."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from optuna.trial import TrialState, create_trial

from hpo.results.counting import counts_of
from hpo.storage.workers import WorkerRow

TRIALS = [create_trial(state=state) for state in (*[TrialState.RUNNING] * 5, TrialState.WAITING, TrialState.FAIL)]
TRAINING = {"device": "cpu", "state": "training", "trial": 1}
IDLE = {"device": "cpu", "state": "idle", "trial": None}


def worker(slots: Any, *, state: str = "running", silent: float = 1.0) -> WorkerRow:
    now = datetime.now(UTC)
    return WorkerRow("w", 1, "host", {}, slots, None, None, now, now, state, silent)


@pytest.mark.parametrize(
    ("workers", "running", "waiting"),
    [
        ([worker([TRAINING, TRAINING])], 2, 4),
        ([worker([TRAINING, IDLE]), worker([TRAINING, TRAINING])], 3, 3),
        ([worker([IDLE])], 0, 6),
        ([worker([TRAINING] * 9)], 5, 1),
        ([], 5, 1),
        ([worker([TRAINING], state="gone")], 5, 1),
        ([worker([TRAINING], silent=100.0)], 5, 1),
        ([worker("text")], 5, 1),
        ([worker([])], 5, 1),
        ([worker([7, {"state": ["training"]}])], 0, 6),
    ],
)
def test_a_trial_that_is_held_for_a_slot_waits(workers: list[WorkerRow], running: int, waiting: int) -> None:
    """As in the picture of the run that holds it; where nobody says what is trained, Optuna's table is all there is."""
    counts = counts_of(TRIALS, workers)
    assert (counts["running"], counts["waiting"], counts["failed"]) == (running, waiting, 1)
    assert sum(counts.values()) == len(TRIALS)

"""What the live view counts: never behind the lines below it, and `running` is what trains."""

from __future__ import annotations

import optuna
import pytest
from optuna.trial import FrozenTrial, TrialState

from hpo.search.events import Counts
from hpo.search.live_counts import LiveCounts
from hpo.storage.claims import Claim
from hpo.storage.study_cache import StudyCache

STUDY = 1


def elsewhere(number: int, state: str) -> FrozenTrial:
    """A trial as the database has it, of another host."""
    frozen = optuna.trial.create_trial(state=TrialState[state], value=0.5 if state == "COMPLETE" else None)
    frozen.number, frozen._trial_id = number, 100 + number
    return frozen


class Watched:
    """A study cache, and the live counts of it."""

    def __init__(self) -> None:
        self.cache = StudyCache(STUDY, "watched", [optuna.study.StudyDirection.MAXIMIZE])
        self.claimed: set[int] = set()
        self.live = LiveCounts(self.cache, STUDY, self.claimed)
        self._revision = 0

    def counts(self, database: Counts, training: int) -> dict[str, int]:
        changed, self._revision = self.cache.finished_since(self._revision)
        self.live.update(changed)
        return {name: number for name, number in self.live.counts(database, training).items() if number}

    def claim(self, number: int) -> None:
        self.cache.start(Claim(100 + number, number, attempt=1, checkpoint=None, fresh=True))

    def end(self, number: int, state: TrialState) -> None:
        self.cache.set_trial_state_values(100 + number, state, [0.5])


@pytest.fixture
def watched() -> Watched:
    return Watched()


def test_a_trial_that_ended_here_counts_at_once(watched: Watched) -> None:
    """The database said 0 complete some seconds ago."""
    watched.claim(0)
    watched.claim(1)
    before = Counts(running=2)
    watched.end(0, TrialState.COMPLETE)
    assert watched.counts(before, training=1) == {"complete": 1, "running": 1}
    assert watched.counts(Counts(complete=1, running=1), training=1) == {"complete": 1, "running": 1}


def test_a_trial_asked_for_ahead_is_waiting_until_a_slot_trains_it(watched: Watched) -> None:
    for number in range(3):
        watched.claim(number)
    assert watched.counts(Counts(running=3), training=2) == {"running": 2, "waiting": 1}


def test_a_trial_that_is_being_asked_for_is_not_taken_for_another_hosts(watched: Watched) -> None:
    """The database says RUNNING of it, and the cache not yet that it is ours."""
    watched.claim(0)
    watched.claimed.add(101)
    watched.cache.apply([elsewhere(1, "RUNNING")])
    assert watched.counts(Counts(running=2), training=1) == {"running": 1, "waiting": 1}


def test_trials_of_other_hosts_count_as_the_database_has_them(watched: Watched) -> None:
    """Their ends come with the database's count, their running ones with the cache."""
    watched.cache.apply([elsewhere(0, "COMPLETE"), elsewhere(1, "RUNNING"), elsewhere(2, "WAITING")])
    watched.claim(3)
    assert watched.counts(Counts(complete=4, running=2, waiting=1), training=1) == {
        "complete": 4,
        "running": 2,
        "waiting": 1,
    }


def test_a_trial_that_was_taken_back_is_not_counted_twice(watched: Watched) -> None:
    watched.claim(0)
    watched.end(0, TrialState.PRUNED)
    assert watched.counts(Counts(running=1), training=0) == {"pruned": 1}
    watched.cache.drop(100)
    watched.cache.apply([elsewhere(0, "RUNNING")])
    assert watched.counts(Counts(running=1), training=0) == {"running": 1}

"""How many trials a host asks for ahead of need."""

from __future__ import annotations

import math

import pytest

from hpo.trainers.pool import TrainerPool
from hpo.trainers.process import TrainerProcess
from hpo.trainers.slot import Slot, SlotSpec


def no_process(spec: SlotSpec) -> TrainerProcess:
    raise AssertionError("nothing is started here")


def fleet(slots: int) -> TrainerPool:
    return TrainerPool([Slot(index, SlotSpec("cpu"), no_process) for index in range(slots)])


@pytest.mark.parametrize("slots", [1, 2, 8, 64])
@pytest.mark.parametrize("trial_seconds", [0.05, 1.0, 10.0, 3600.0, math.inf])
def test_slots_that_end_together_wait_a_hundredth_of_their_time_at_most(slots: int, trial_seconds: float) -> None:
    ask_seconds = 0.025
    ahead = fleet(slots).prefetch(ask_seconds, trial_seconds)
    assert 1 <= ahead <= slots
    unready = slots - ahead
    assert unready * unready * ask_seconds <= 0.01 * slots * trial_seconds


def test_no_more_than_that_for_one_asked_early_knows_less() -> None:
    assert fleet(8).prefetch(0.025, 3600.0) == 1
    assert fleet(8).prefetch(0.025, 10.0) == 3
    assert fleet(8).prefetch(0.025, 0.5) == 7


def test_what_depends_on_how_a_trial_did_is_asked_ahead_only_where_asking_takes_long() -> None:
    """A decision about paused trials that is made before the last one has told knows less."""
    pool = TrainerPool([Slot(index, SlotSpec("cpu"), no_process) for index in range(2)], fresh=True)
    assert pool.prefetch(0.1, 60.0) == 0
    assert pool.prefetch(0.1, math.inf) == 0
    assert pool.prefetch(0.1, 1.0) >= 1

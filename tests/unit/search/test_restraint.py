"""How often a host tells and asks what can wait, in small studies and in large ones."""

from __future__ import annotations

import pytest

from hpo.search.restraint import Restraint


@pytest.mark.parametrize(("running", "seconds"), [(0, 1.0), (100, 1.0), (300, 3.0), (10_000, 5.0)])
def test_reports_wait_for_others_the_longer_the_more_trials_run(running: int, seconds: float) -> None:
    restraint = Restraint(30.0)
    restraint.running = running
    assert restraint.flush_seconds == seconds


def test_with_short_leases_a_report_waits_no_longer_than_a_renewal() -> None:
    restraint = Restraint(12.0)
    restraint.running = 10_000
    assert restraint.flush_seconds == 2.0


@pytest.mark.parametrize(("running", "counts"), [(0, 12), (200, 12), (600, 4), (2400, 1)])
def test_trials_are_counted_at_every_renewal_or_at_fewer_the_more_of_them_run(running: int, counts: int) -> None:
    restraint = Restraint(30.0)
    restraint.running = running
    assert sum(restraint.is_time_to_count() for _ in range(12)) == counts

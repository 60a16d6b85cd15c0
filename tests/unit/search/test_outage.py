"""How the database is tried again while it is away."""

from __future__ import annotations

from hpo.search.events import DatabaseRecovered, DatabaseUnavailable
from hpo.search.outage import Outage


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_pauses_grow_to_the_longest_and_no_two_hosts_keep_step() -> None:
    """Half to all of 0.4 s, 0.8 s, ... up to the longest; chance decides where between."""
    hosts = [Outage(longest_pause=2.0) for _ in range(20)]
    for longest in (0.4, 0.8, 1.6, 2.0, 2.0):
        for host in hosts:
            host.failed(OSError("refused"))
        pauses = [host.pause() for host in hosts]
        assert all(longest / 2 <= pause <= longest for pause in pauses)
        assert len(set(pauses)) > 15


def test_an_outage_is_said_once_and_its_end_once_with_its_length() -> None:
    clock = Clock()
    outage = Outage(1.0, clock)
    assert outage.worked() is None
    assert outage.failed(OSError("refused\nsecond line")) == DatabaseUnavailable("refused")
    clock.now += 7.0
    assert outage.failed(OSError("refused")) is None
    assert outage.seconds == 7.0
    assert outage.worked() == DatabaseRecovered(7.0)
    assert (outage.worked(), outage.seconds) == (None, 0.0)

"""Freeing trials that nobody works on any more: their lease ran out, or their process is gone from this machine."""

from __future__ import annotations

import time
from collections.abc import Callable

from sqlalchemy.engine import Connection

from hpo.search.identity import Identity, is_gone
from hpo.storage import queries

__all__ = ["Reaper"]

MAX_ATTEMPTS = 3
"""A trial under which its trainer died in so many attempts is told as failed, not tried again."""
MAX_HOSTS = 10
"""Hosts come and go for their own reasons, so only a trial under which this many vanished is suspected of it."""


class Reaper:
    """Visits the leases of one study now and then.

    A lease is reaped only when it was seen run out, and is unchanged after `grace_seconds` more in which this
    coordinator could reach the database all the time. After an outage every lease looks run out, and this gives their
    owners, who could not renew them either, the time to do so.
    """

    def __init__(
        self, study_id: int, here: Identity, grace_seconds: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._study_id = study_id
        self._here = here
        self._grace_seconds = grace_seconds
        self._clock = clock
        self._first_seen: dict[tuple[int, object], float] = {}

    def forget(self) -> None:
        """The database was away: begin counting anew."""
        self._first_seen.clear()

    def visit(self, connection: Connection) -> int:
        """Free what can be freed; the number of trials that wait again (or failed for good)."""
        now = self._clock()
        expired = queries.expired(connection, self._study_id)
        keys = {(lease.trial_id, lease.expires_at): lease for lease in expired}
        self._first_seen = {key: self._first_seen.get(key, now) for key in keys}
        freed = 0
        for key, lease in keys.items():
            if now - self._first_seen[key] >= self._grace_seconds:
                freed += queries.reap(connection, lease.trial_id, lease.expires_at, MAX_HOSTS).outcome != "unchanged"
        return freed

    def free_the_dead(self, connection: Connection) -> int:
        """Free at once the trials of workers that ran on this machine and no longer exist."""
        freed = 0
        for worker in queries.list_workers(connection, self._study_id):
            if worker.state != "gone" and is_gone(worker.identity, self._here):
                freed += len(queries.release_worker(connection, worker.worker_id, MAX_HOSTS))
        return freed

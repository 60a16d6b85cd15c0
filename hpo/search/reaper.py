"""Frees trials nobody works on any more: their lease ran out, or their process on this machine is gone."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from sqlalchemy.engine import Connection

from hpo.search.identity import Identity, is_gone
from hpo.storage import queries

__all__ = ["Reaper"]

MAX_DEATHS = 3
"""A trial fails, and is not tried again, after this many attempts that ended because the trainer died."""
MAX_HOSTS = 10
"""Hosts vanish for reasons of their own, so a trial is blamed, and fails, only after this many. Each limit has its own
counter: a lost host never counts as a trainer's death, nor a trainer's death as a lost host."""


class Reaper:
    """Frees expired leases of one study, a visit at a time.

    A lease is reaped only if it had run out at an earlier visit and has not changed for `grace_seconds` since, during
    which this coordinator could always reach the database. After an outage every lease has run out: the grace gives
    their owners, who could not renew them either, the time to do so.
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
        """The database was away: start the grace of every lease again."""
        self._first_seen.clear()

    def visit(self, connection: Connection) -> int:
        """Free what can be freed, in the caller's transaction. Returns how many trials wait again or have failed for
        good."""
        return self._reap(connection, self._due(queries.expired(connection, self._study_id)))

    def free(self, connection: Connection, expired: Sequence[queries.Expired]) -> None:
        """The same with what `queries.renew_and_look` found, on a connection that commits each statement by itself."""
        due = self._due(expired)
        if due:
            connection.commit()
            with connection.execution_options(isolation_level="READ COMMITTED").begin():
                self._reap(connection, due)
            connection.execution_options(isolation_level="AUTOCOMMIT")

    def _due(self, expired: Sequence[queries.Expired]) -> list[queries.Expired]:
        now = self._clock()
        keys = {(lease.trial_id, lease.expires_at): lease for lease in expired}
        self._first_seen = {key: self._first_seen.get(key, now) for key in keys}
        return [lease for key, lease in keys.items() if now - self._first_seen[key] >= self._grace_seconds]

    def _reap(self, connection: Connection, due: Sequence[queries.Expired]) -> int:
        reaped = [queries.reap(connection, lease.trial_id, lease.expires_at, MAX_HOSTS) for lease in due]
        return sum(result.outcome != "unchanged" for result in reaped)

    def free_the_dead(self, connection: Connection, live_seconds: float) -> int:
        """Free at once the trials of workers that ran on this machine and no longer exist. live_seconds: of a lease."""
        freed = 0
        for worker in queries.list_workers(connection, self._study_id):
            if worker.state != "gone" and is_gone(worker.identity, self._here, worker.silent_seconds, live_seconds):
                freed += len(queries.release_worker(connection, worker.worker_id, MAX_HOSTS))
        return freed

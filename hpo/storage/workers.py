"""The coordinators that work, or worked, on a study."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, select, text

from hpo.decoding import decoded_or
from hpo.storage.moments import seconds_from
from hpo.storage.tables import workers

__all__ = ["WorkerRow", "at_work", "list_workers", "register_worker"]


@dataclass(frozen=True)
class WorkerRow:
    """One coordinator. `identity` says which process it is, `code` is a digest of the sources it runs.

    state: "running", or "gone" once it has signed off or was found dead. `silent_seconds` is by the database's clock.
    """

    worker_id: str
    study_id: int
    host: str
    identity: dict[str, Any]
    slots: Any
    commit: str | None
    code: str | None
    started_at: datetime
    seen_at: datetime
    state: str
    silent_seconds: float

    def is_at_work(self, live_seconds: float) -> bool:
        """Whether it did not sign off and was seen in the last `live_seconds`, which is how long a lease lasts."""
        return self.state != "gone" and self.silent_seconds < live_seconds


def register_worker(
    connection: Connection,
    worker_id: str,
    study_id: int,
    *,
    host: str,
    identity: dict[str, Any],
    slots: Any,
    commit: str | None = None,
    code: str | None = None,
    state: str = "running",
) -> None:
    """Record a coordinator, or record it anew."""
    connection.execute(
        text(
            'INSERT INTO hpo_workers (worker_id, study_id, host, identity, slots, "commit", code, state)'
            " VALUES (:worker, :study, :host, :identity, :slots, :commit, :code, :state)"
            " ON CONFLICT (worker_id) DO UPDATE SET study_id = excluded.study_id, host = excluded.host,"
            ' identity = excluded.identity, slots = excluded.slots, "commit" = excluded."commit",'
            " code = excluded.code, state = excluded.state, seen_at = now()"
        ),
        {
            "worker": worker_id,
            "study": study_id,
            "host": host,
            "identity": json.dumps(identity),
            "slots": json.dumps(slots),
            "commit": commit,
            "code": code,
            "state": state,
        },
    )


def list_workers(connection: Connection, study_id: int | None = None) -> list[WorkerRow]:
    """The coordinators of a study, or of every study, oldest first. PostgreSQL only."""
    silent = text(f"{seconds_from('seen_at', 'now()')} AS silent_seconds")
    query = select(workers, silent).order_by(workers.c.started_at)
    if study_id is not None:
        query = query.where(workers.c.study_id == study_id)
    found = []
    for row in connection.execute(query).mappings():
        fields = dict(row)
        fields["identity"], fields["slots"] = decoded_or(fields["identity"], {}), decoded_or(fields["slots"], [])
        fields["silent_seconds"] = math.inf if fields["silent_seconds"] is None else fields["silent_seconds"]
        found.append(WorkerRow(**fields))
    return found


def at_work(connection: Connection, study_id: int, live_seconds: float) -> list[WorkerRow]:
    """The coordinators of a study that did not sign off and were seen in the last `live_seconds`."""
    return [worker for worker in list_workers(connection, study_id) if worker.is_at_work(live_seconds)]

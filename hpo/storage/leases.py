"""Keep, lose and take back leases. Every time is the database's."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from optuna.trial import TrialState
from sqlalchemy import Connection, text

from hpo.storage.optuna_schema import FAIL, NUMBERED, RUNNING, STATE_TYPE, TRIALS, USER_ATTRS, WAITING
from hpo.storage.tables import COUNTED_ATTEMPTS, COUNTED_DEATHS, UTC_NOW
from hpo.storage.trial_record import TrialFailure

__all__ = [
    "Expired",
    "HeldTrial",
    "ReapResult",
    "expired",
    "held_elsewhere",
    "reap",
    "release_worker",
    "renew",
    "renew_and_look",
    "sign_off",
]


@dataclass(frozen=True)
class Expired:
    trial_id: int
    worker_id: str
    expires_at: datetime
    attempt: int
    host: str | None


@dataclass(frozen=True)
class HeldTrial:
    """A RUNNING trial. host: of the worker that holds its lease; None if none does, as for a trial of plain Optuna."""

    number: int
    host: str | None


@dataclass(frozen=True)
class ReapResult:
    """outcome: "requeued", "failed" (attempts used up), or "unchanged" (the holder came back, or another was first).

    attempt: the one that ended, counted from the last that finished an epoch.
    """

    trial_id: int
    outcome: str
    attempt: int = 0


_RENEW = text("SELECT * FROM hpo_renew(:worker, CAST(:seconds AS double precision), :slots, CAST(:study AS int))")
_HELD_ELSEWHERE = text(
    "SELECT t.number, CASE WHEN l.worker_id IS NULL THEN NULL ELSE coalesce(l.host, l.worker_id) END"
    f" FROM {TRIALS} t LEFT JOIN hpo_leases l ON l.trial_id = t.trial_id"
    f" WHERE t.study_id = :study AND t.state = '{RUNNING}' AND {NUMBERED}"
    " AND l.worker_id IS DISTINCT FROM CAST(:worker AS text) ORDER BY t.number"
)
_EXPIRED = text(
    "SELECT trial_id, worker_id, expires_at, attempt, host FROM hpo_leases"
    " WHERE study_id = :study AND worker_id IS NOT NULL AND expires_at < now() ORDER BY trial_id"
)
# Trial first, lease second: the order of every statement here, so that two of them cannot wait for each other.
_LOCK = (
    f"SELECT t.trial_id, CAST(t.state AS text), {COUNTED_ATTEMPTS}, {COUNTED_DEATHS}, l.worker_id, l.host"
    f" FROM {TRIALS} t JOIN hpo_leases l ON l.trial_id = t.trial_id WHERE {{which}} ORDER BY t.trial_id FOR UPDATE"
)
# A holder that is saving at this moment is alive: SKIP LOCKED leaves it alone, and two reapers never wait in a circle.
_LOCK_DUE = text(
    _LOCK.format(which="t.trial_id = :trial AND l.worker_id IS NOT NULL AND l.expires_at = :seen") + " SKIP LOCKED"
)
_LOCK_WORKER = text(_LOCK.format(which="l.worker_id = :worker"))

_GIVE_BACK = text(
    f"""
    WITH given AS (
        SELECT * FROM unnest(CAST(:ids AS int[]), CAST(:states AS {STATE_TYPE}[]), CAST(:attempts AS int[]),
                             CAST(:deaths AS int[]), CAST(:failures AS text[]))
            AS g(id, state, attempt, deaths, failure)
    ),
    moved AS (
        UPDATE {TRIALS} SET state = g.state,
            datetime_complete = CASE WHEN g.state = '{FAIL}' THEN {UTC_NOW} ELSE datetime_complete END
        FROM given g WHERE {TRIALS}.trial_id = g.id AND {TRIALS}.state = '{RUNNING}'
    ),
    explained AS (
        INSERT INTO {USER_ATTRS} (trial_id, key, value_json)
        SELECT id, 'failure', failure FROM given WHERE failure IS NOT NULL
        ON CONFLICT (trial_id, key) DO UPDATE SET value_json = excluded.value_json
    )
    UPDATE hpo_leases SET worker_id = NULL, expires_at = NULL, attempt = g.attempt, trainer_deaths = g.deaths
    FROM given g WHERE hpo_leases.trial_id = g.id
    """
)


def renew(
    connection: Connection, worker_id: str, lease_seconds: float, slots_json: str | None = None
) -> dict[int, TrialState]:
    """Extend every lease of `worker_id` and mark it seen; one statement. `slots_json` None keeps its slots. A worker
    that was marked as gone counts as running again.

    Returns the trials whose lease it still has, with their state: any state but RUNNING was set by someone else, such
    as a user of the dashboard.
    """
    return renew_and_look(connection, worker_id, lease_seconds, slots_json, None)[0]


def renew_and_look(
    connection: Connection, worker_id: str, lease_seconds: float, slots_json: str | None, study_id: int | None
) -> tuple[dict[int, TrialState], list[Expired]]:
    """What `renew` does and returns, and then what `expired` returns; one message."""
    bound = {"worker": worker_id, "seconds": float(lease_seconds), "slots": slots_json, "study": study_id}
    rows = connection.execute(_RENEW, bound).all()
    held = {row[0]: TrialState[row[1]] for row in rows if row[1] is not None}
    return held, [Expired(row[0], *row[2:]) for row in rows if row[1] is None]


def held_elsewhere(connection: Connection, study_id: int, worker_id: str) -> list[HeldTrial]:
    """The study's RUNNING trials that `worker_id` has no lease of, by number."""
    bound = {"study": study_id, "worker": worker_id}
    return [HeldTrial(*row) for row in connection.execute(_HELD_ELSEWHERE, bound)]


def expired(connection: Connection, study_id: int) -> list[Expired]:
    """Leases of the study that ran out."""
    return [Expired(*row) for row in connection.execute(_EXPIRED, {"study": study_id})]


def reap(connection: Connection, trial_id: int, expires_at_seen: datetime, most_hosts: int) -> ReapResult:
    """Take a trial from a holder that has been silent: back to WAITING as the next attempt, or FAIL when `most_hosts`
    have been lost under it. Trainers that died do not count: they have a limit of their own.

    It does so only if the lease still ends at `expires_at_seen`: a holder that came back keeps its trial.
    """
    row = connection.execute(_LOCK_DUE, {"trial": trial_id, "seen": expires_at_seen}).one_or_none()
    if row is None:
        return ReapResult(trial_id, "unchanged")
    return _give_back(connection, [row], most_hosts)[0]


def release_worker(connection: Connection, worker_id: str, most_hosts: int) -> list[ReapResult]:
    """Take back everything that a dead worker holds, as `reap` does, without waiting for its leases."""
    return _release(connection, worker_id, most_hosts)


def sign_off(connection: Connection, worker_id: str) -> list[ReapResult]:
    """Give back everything that a healthy worker still holds. No trial fails, and none loses an attempt."""
    return _release(connection, worker_id, None)


def _release(connection: Connection, worker_id: str, most_hosts: int | None) -> list[ReapResult]:
    rows = connection.execute(_LOCK_WORKER, {"worker": worker_id}).all()
    results = _give_back(connection, list(rows), most_hosts)
    connection.execute(text("UPDATE hpo_workers SET state = 'gone' WHERE worker_id = :worker"), {"worker": worker_id})
    return results


def _give_back(connection: Connection, rows: list[Any], most_hosts: int | None) -> list[ReapResult]:
    """most_hosts: None for a host that leaves and is not lost."""
    if not rows:
        return []
    results = []
    bound: dict[str, list[Any]] = {"ids": [], "states": [], "attempts": [], "deaths": [], "failures": []}
    for trial_id, state, attempt, deaths, worker_id, host in rows:
        running = state == RUNNING
        lost = attempt - deaths  # hosts, this one among them
        used_up = running and most_hosts is not None and lost >= most_hosts
        failure = TrialFailure(kind="attempts", attempts=attempt, worker=worker_id, host=host)
        bound["ids"].append(trial_id)
        bound["states"].append(FAIL if used_up else WAITING)
        bound["attempts"].append(attempt + (running and most_hosts is not None and not used_up))
        bound["deaths"].append(deaths)
        bound["failures"].append(json.dumps(failure) if used_up else None)
        outcome = "failed" if used_up else "requeued" if running else "unchanged"
        results.append(ReapResult(trial_id, outcome, attempt))
    connection.execute(_GIVE_BACK, bound)
    return results

"""Who works on what: new trials, waiting trials, and the enqueueing of known configurations."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, TextClause, text

from hpo.decoding import decoded_or
from hpo.json_values import key_of
from hpo.storage.notes import BEGUN
from hpo.storage.optuna_schema import (
    FIXED_PARAMS,
    NUMBERED,
    RUNNING,
    STUDIES,
    SYSTEM_ATTRS,
    TRIALS,
    USER_ATTRS,
    WAITING,
)
from hpo.storage.save import local_time
from hpo.storage.tables import CHANGE, UTC_NOW, NoStudy
from hpo.storage.trial_record import TrialRecord

__all__ = ["Claim", "claim", "claim_these", "enqueue"]


@dataclass(frozen=True)
class Claim:
    """A trial that is now RUNNING under our lease.

    attempt:     1 at first, one more for each resumption after something went wrong
    checkpoint:  folder with its checkpoints, if it was released with one
    fresh:       True when it was just created, so that nothing is known about it yet
    started:     as Optuna shows it: naive local time, from the database's clock
    trainer_deaths: how many earlier attempts ended because a trainer died
    """

    trial_id: int
    number: int
    attempt: int
    checkpoint: str | None
    fresh: bool
    started: datetime | None = None
    trainer_deaths: int = 0


_LOCK_STUDY = f"SELECT study_id FROM {STUDIES} WHERE study_id = :study FOR UPDATE"

# Optuna numbers by count(*); numbers are dense, so the newest trial's number says the same without reading them all.
_NEXT = (
    f"coalesce((SELECT t.number + 1 FROM {TRIALS} t WHERE t.study_id = :study AND {NUMBERED}"
    " ORDER BY t.trial_id DESC LIMIT 1), 0)"
)

# Read inside the statement that uses it, so that no host works with the number of an earlier `hpo run`.
_TARGET = "(SELECT trials_target FROM hpo_studies WHERE study_id = :study)"

# All trials but the waiting ones have begun, and there is an index on the waiting ones.
_WAITING = f"SELECT count(*) FROM {TRIALS} t WHERE t.study_id = :study AND t.state = '{WAITING}' AND {NUMBERED}"
_BEGUN = f"({_NEXT} - ({_WAITING}))"
_ROOM = f"greatest(0, least(CAST(:limit AS bigint), coalesce({_TARGET} - {_BEGUN}, CAST(:limit AS bigint))))"

# Every host of a study waits for this lock. Both statements are sent as one, so that it lasts only for one answer and
# the commit. The second still sees what was committed while the first waited: PostgreSQL gives each statement of such a
# batch its own snapshot. The commit does not wait for the disk, which would take most of its time: a claim that is lost
# with the server is one that nobody has written anything about (docs/decisions/changes.md).
_CLAIM = f"""
    SELECT set_config('synchronous_commit', 'off', true) FROM ({_LOCK_STUDY}) AS study;
    WITH picked AS (
        SELECT t.trial_id FROM {TRIALS} t LEFT JOIN hpo_leases l ON l.trial_id = t.trial_id
        WHERE t.study_id = :study AND t.state = '{WAITING}' AND {NUMBERED} {{which}}
        ORDER BY (l.host IS NOT DISTINCT FROM CAST(:host AS text)) DESC, t.number
        LIMIT {_ROOM} FOR UPDATE OF t SKIP LOCKED
    ),
    resumed AS (
        UPDATE {TRIALS} SET state = '{RUNNING}', datetime_start = {UTC_NOW}
        FROM picked WHERE {TRIALS}.trial_id = picked.trial_id
        RETURNING {TRIALS}.trial_id, {TRIALS}.number, {TRIALS}.datetime_start
    ),
    next AS (SELECT {_NEXT} AS number FROM {STUDIES} WHERE study_id = :study),
    made AS (
        INSERT INTO {TRIALS} (number, study_id, state, datetime_start)
        SELECT next.number + i, :study, '{RUNNING}', {UTC_NOW}
        FROM next, generate_series(0, CAST(:new AS int) - 1 {{less}}) AS i
        WHERE next.number + i < coalesce({_TARGET}, 2147483647)
        ORDER BY i
        RETURNING trial_id, number, datetime_start
    ),
    noted AS (
        INSERT INTO hpo_changes (trial_id, study_id, change, note)
        SELECT trial_id, :study, {CHANGE}, {BEGUN} FROM made
        ON CONFLICT (trial_id) DO UPDATE SET study_id = excluded.study_id, change = excluded.change,
            note = excluded.note, ended = NULL
    ),
    claimed AS (SELECT *, false AS fresh FROM resumed UNION ALL SELECT *, true FROM made),
    leased AS (
        INSERT INTO hpo_leases AS l (trial_id, study_id, worker_id, expires_at, host, claimed_at)
        SELECT trial_id, :study, :worker, now() + make_interval(secs => :seconds), :host, now() FROM claimed
        ON CONFLICT (trial_id) DO UPDATE SET worker_id = excluded.worker_id, expires_at = excluded.expires_at,
            host = excluded.host, claimed_at = excluded.claimed_at
        RETURNING l.trial_id, l.attempt, l.checkpoint, l.trainer_deaths
    )
    SELECT c.trial_id, c.number, l.attempt, l.checkpoint, c.fresh, c.datetime_start, l.trainer_deaths
    FROM {STUDIES} LEFT JOIN (claimed c JOIN leased l ON l.trial_id = c.trial_id) ON true
    WHERE {STUDIES}.study_id = :study ORDER BY c.fresh, c.number
    """
_CLAIM_NEXT = text(_CLAIM.format(which="", less="- (SELECT CAST(count(*) AS int) FROM picked)"))
_CLAIM_THESE = text(_CLAIM.format(which="AND t.trial_id = ANY(CAST(:these AS int[]))", less=""))


def claim(
    connection: Connection,
    study_id: int,
    worker_id: str,
    host: str,
    lease_seconds: float,
    limit: int,
    *,
    new: bool = True,
) -> list[Claim]:
    """At most `limit` trials, now RUNNING and leased to `worker_id`: waiting ones (this host's own first), then new.

    With a target (`set_budget`), the study never gets more than that many trials by it, waiting ones included, and
    finished and running ones together stay within it. Without `new`, none are made. One round trip; the study is
    locked until the transaction ends, so give it a connection that commits by itself.
    Raises NoStudy for a study that does not exist (any more).
    """
    bound = {"limit": limit, "new": limit if new else 0}
    return _claim(connection, _CLAIM_NEXT, study_id, worker_id, host, lease_seconds, bound)


def claim_these(
    connection: Connection,
    study_id: int,
    worker_id: str,
    host: str,
    lease_seconds: float,
    trial_ids: Sequence[int],
    new: int,
) -> list[Claim]:
    """Those of `trial_ids` that wait, then `new` new trials, under the rules of `claim`.

    A trial that another host was first to take is not replaced by a new one.
    """
    bound = {"limit": len(trial_ids), "these": list(trial_ids), "new": new}
    return _claim(connection, _CLAIM_THESE, study_id, worker_id, host, lease_seconds, bound)


def _claim(
    connection: Connection,
    statement: TextClause,
    study_id: int,
    worker_id: str,
    host: str,
    lease_seconds: float,
    bound: Mapping[str, Any],
) -> list[Claim]:
    shared = {"study": study_id, "worker": worker_id, "host": host, "seconds": float(lease_seconds)}
    rows = connection.execute(statement, {**shared, **bound}).all()
    if not rows:
        raise NoStudy(study_id)
    return [
        Claim(row[0], row[1], row[2], row[3], row[4], local_time(row[5]), row[6]) for row in rows if row[0] is not None
    ]


_QUEUED = text(
    f"SELECT a.value_json FROM {SYSTEM_ATTRS} a JOIN {TRIALS} t ON t.trial_id = a.trial_id"
    f" WHERE t.study_id = :study AND a.key = '{FIXED_PARAMS}'"
)
_ENQUEUE = text(
    f"""
    WITH next AS (SELECT {_NEXT} AS number),
    given AS (
        SELECT * FROM unnest(CAST(:fixed AS text[])) WITH ORDINALITY AS g(fixed, place)
    ),
    made AS (
        INSERT INTO {TRIALS} (number, study_id, state)
        SELECT next.number + g.place - 1, :study, '{WAITING}' FROM next, given g ORDER BY g.place
        RETURNING trial_id, number
    ),
    fixed AS (
        INSERT INTO {SYSTEM_ATTRS} (trial_id, key, value_json)
        SELECT m.trial_id, '{FIXED_PARAMS}', g.fixed FROM next, made m JOIN given g ON true
        WHERE m.number = next.number + g.place - 1
    ),
    attrs AS (
        INSERT INTO {USER_ATTRS} (trial_id, key, value_json)
        SELECT m.trial_id, a.key, a.value
        FROM next, made m
        JOIN unnest(CAST(:places AS int[]), CAST(:keys AS text[]), CAST(:values AS text[])) AS a(place, key, value)
            ON true
        WHERE m.number = next.number + a.place
    )
    SELECT trial_id FROM made ORDER BY number
    """
)


def enqueue(
    connection: Connection,
    study_id: int,
    items: Sequence[tuple[dict[str, Any], TrialRecord]],
    *,
    repeat: bool = False,
) -> list[int]:
    """Queue (fixed parameters, user attributes) as `study.enqueue_trial(skip_if_exists=True)` does; the new ids.

    A configuration whose fixed parameters equal those of a trial enqueued before, or earlier in `items`, is left out
    unless `repeat`.
    """
    if connection.execute(text(_LOCK_STUDY), {"study": study_id}).one_or_none() is None:
        raise NoStudy(study_id)
    known = {key_of(decoded_or(row[0], {})) for row in connection.execute(_QUEUED, {"study": study_id})}
    fixed: list[str] = []
    attrs: list[tuple[int, str, str]] = []
    for params, user_attrs in items:
        key = key_of(params)
        if key in known and not repeat:
            continue
        known.add(key)
        attrs += [(len(fixed), key, json.dumps(value)) for key, value in user_attrs.items()]
        fixed.append(json.dumps(params))
    if not fixed:
        return []
    bound = {
        "study": study_id,
        "fixed": fixed,
        "places": [place for place, _, _ in attrs],
        "keys": [key for _, key, _ in attrs],
        "values": [value for _, _, value in attrs],
    }
    return [row[0] for row in connection.execute(_ENQUEUE, bound)]

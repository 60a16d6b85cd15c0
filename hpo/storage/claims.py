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
from hpo.storage.optuna_schema import (
    FIXED_PARAMS,
    STUDIES,
    SYSTEM_ATTRS,
    TRIALS,
    USER_ATTRS,
    WAITING,
)
from hpo.storage.routines import next_number
from hpo.storage.save import local_time
from hpo.storage.tables import NoStudy
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

_ARGUMENTS = ":study, :worker, :host, CAST(:seconds AS double precision), :limit, :new"
_CLAIM_NEXT = text(f"SELECT * FROM hpo_claim_next({_ARGUMENTS})")
_CLAIM_THESE = text(f"SELECT * FROM hpo_claim_these({_ARGUMENTS}, CAST(:these AS int[]))")


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
    WITH next AS (SELECT {next_number(":study")} AS number),
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

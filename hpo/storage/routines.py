"""What every trial asks of the database, as functions there: planned once for each connection, not once for each call.

Planning took more than half of the server's time for statements that touch three rows. A prepared statement would
belong to a session, which PgBouncer's transaction pooling does not keep; the plans of a function belong to the server's
process (docs/decisions/planned-once.md). Each function runs with the rights of whoever calls it.
"""

from __future__ import annotations

from hpo.storage.optuna_schema import NUMBERED, RUNNING, STUDIES, TRIALS, WAITING
from hpo.storage.saving import SAVING
from hpo.storage.tables import CHANGE, LOCK, UTC_NOW

__all__ = ["MAKING", "ROUTINES", "next_number"]


# A renewal that is lost with the server is followed by the next one before the lease has run out.
_RENEW = f"""
    BEGIN
        PERFORM set_config('synchronous_commit', 'off', true);
        UPDATE hpo_workers SET seen_at = now(), state = 'running', slots = coalesce(in_slots, slots)
        WHERE worker_id = in_worker;
        RETURN QUERY WITH renewed AS (
            UPDATE hpo_leases SET expires_at = now() + make_interval(secs => in_seconds)
            WHERE worker_id = in_worker RETURNING trial_id
        )
        SELECT t.trial_id, CAST(t.state AS text), CAST(NULL AS text), CAST(NULL AS timestamptz), 0, CAST(NULL AS text)
        FROM renewed r JOIN {TRIALS} t ON t.trial_id = r.trial_id;
        IF in_study IS NOT NULL THEN
            RETURN QUERY SELECT l.trial_id, CAST(NULL AS text), l.worker_id, l.expires_at, l.attempt, l.host
            FROM hpo_leases l WHERE l.study_id = in_study AND l.worker_id IS NOT NULL AND l.expires_at < now()
            ORDER BY l.trial_id;
        END IF;
    END
    """


def next_number(study: str) -> str:
    """SQL: the number that the study's next trial gets. Optuna numbers by count(*); numbers are dense, so the newest
    trial's number says the same without reading them all."""
    newest = f"SELECT t.number + 1 FROM {TRIALS} t WHERE t.study_id = {study} AND {NUMBERED} ORDER BY t.trial_id DESC"
    return f"coalesce(({newest} LIMIT 1), 0)"


# The note of a trial that was just created, of which nothing else is known (hpo/storage/notes.py).
_NOTE_OF_NEW = f"CAST(json_build_object('number', number, 'state', '{RUNNING}', 'begun', datetime_start) AS text)"
_NEXT = next_number("in_study")

# Read inside the statement that uses it, so that no host works with the number of an earlier `hpo run`.
_TARGET = "(SELECT trials_target FROM hpo_studies WHERE study_id = in_study)"

# All trials but the waiting ones have begun, and there is an index on the waiting ones.
_WAITING = f"SELECT count(*) FROM {TRIALS} t WHERE t.study_id = in_study AND t.state = '{WAITING}' AND {NUMBERED}"
_BEGUN = f"({_NEXT} - ({_WAITING}))"
_ROOM = f"greatest(0, least(in_limit, coalesce({_TARGET} - {_BEGUN}, in_limit)))"

# Every host of a study waits for this lock, so it lasts only for one answer and the commit. The second statement still
# sees what was committed while the first waited: PostgreSQL gives each statement of a volatile function a snapshot of
# its own. The commit does not wait for the disk, which would take most of its time: a claim that is lost with the
# server is one that nobody has written anything about (docs/decisions/changes.md).
_CLAIM = f"""
    DECLARE began timestamptz := clock_timestamp(); pause double precision := 0.005;
    BEGIN
    PERFORM set_config('synchronous_commit', 'off', true);
    WHILE NOT pg_try_advisory_xact_lock({LOCK}, in_study) LOOP
        IF clock_timestamp() > began + interval '10 s' THEN
            PERFORM pg_advisory_xact_lock({LOCK}, in_study);
        ELSE
            PERFORM pg_sleep(pause * random());
            pause := least(0.2, 2 * pause);
        END IF;
    END LOOP;
    PERFORM 1 FROM {STUDIES} WHERE study_id = in_study FOR UPDATE;
    RETURN QUERY WITH picked AS (
        SELECT t.trial_id FROM {TRIALS} t LEFT JOIN hpo_leases l ON l.trial_id = t.trial_id
        WHERE t.study_id = in_study AND t.state = '{WAITING}' AND {NUMBERED} {{which}}
        ORDER BY (l.host IS NOT DISTINCT FROM in_host) DESC, t.number
        LIMIT {_ROOM} FOR UPDATE OF t SKIP LOCKED
    ),
    resumed AS (
        UPDATE {TRIALS} SET state = '{RUNNING}', datetime_start = {UTC_NOW}
        FROM picked WHERE {TRIALS}.trial_id = picked.trial_id
        RETURNING {TRIALS}.trial_id, {TRIALS}.number, {TRIALS}.datetime_start
    ),
    next AS (SELECT {_NEXT} AS number FROM {STUDIES} WHERE study_id = in_study),
    made AS (
        INSERT INTO {TRIALS} (number, study_id, state, datetime_start)
        SELECT next.number + i, in_study, '{RUNNING}', {UTC_NOW}
        FROM next, generate_series(0, in_new - 1 {{less}}) AS i
        WHERE next.number + i < coalesce({_TARGET}, 2147483647)
        ORDER BY i
        RETURNING trial_id, number, datetime_start
    ),
    noted AS (
        INSERT INTO hpo_changes (trial_id, study_id, change, note)
        SELECT trial_id, in_study, {CHANGE}, {_NOTE_OF_NEW} FROM made
        ON CONFLICT (trial_id) DO UPDATE SET study_id = excluded.study_id, change = excluded.change,
            note = excluded.note, ended = NULL
    ),
    claimed AS (SELECT *, false AS fresh FROM resumed UNION ALL SELECT *, true FROM made),
    leased AS (
        INSERT INTO hpo_leases AS l (trial_id, study_id, worker_id, expires_at, host, claimed_at)
        SELECT trial_id, in_study, in_worker, now() + make_interval(secs => in_seconds), in_host, now() FROM claimed
        ON CONFLICT (trial_id) DO UPDATE SET worker_id = excluded.worker_id, expires_at = excluded.expires_at,
            host = excluded.host, claimed_at = excluded.claimed_at
        RETURNING l.trial_id, l.attempt, l.checkpoint, l.trainer_deaths
    )
    SELECT c.trial_id, c.number, l.attempt, l.checkpoint, c.fresh, c.datetime_start, l.trainer_deaths
    FROM {STUDIES} LEFT JOIN (claimed c JOIN leased l ON l.trial_id = c.trial_id) ON true
    WHERE {STUDIES}.study_id = in_study ORDER BY c.fresh, c.number;
    END
    """
_CLAIMING = (
    "in_study int, in_worker text, in_host text, in_seconds double precision, in_limit bigint, in_new int{more}",
    "trial_id int, number int, attempt int, checkpoint text, fresh boolean, started timestamp, trainer_deaths int",
)


def _function(name: str, arguments: str, answer: str, body: str) -> str:
    """SQL: make a function beside hpo's tables. Without parameters in its plans, nothing is planned twice; without
    reading whole tables, a plan from when they were empty is right when they are full."""
    return f"""
    DO $do$ BEGIN EXECUTE format($make$
        CREATE OR REPLACE FUNCTION %1$I.{name}({arguments}) RETURNS TABLE ({answer}) LANGUAGE plpgsql
        SET plan_cache_mode = force_generic_plan SET enable_seqscan = off
        AS $body$
        #variable_conflict use_column
        {body}; $body$
    $make$, (SELECT relnamespace::regnamespace::text FROM pg_class WHERE oid = to_regclass('hpo_changes'))); END $do$
    """


ROUTINES = {
    "hpo_claim_next": (
        _CLAIMING[0].format(more=""),
        _CLAIMING[1],
        _CLAIM.format(which="", less="- (SELECT CAST(count(*) AS int) FROM picked)"),
    ),
    "hpo_claim_these": (
        _CLAIMING[0].format(more=", in_these int[]"),
        _CLAIMING[1],
        _CLAIM.format(which="AND t.trial_id = ANY(in_these)", less=""),
    ),
    "hpo_save": SAVING,
    "hpo_renew": (
        "in_worker text, in_seconds double precision, in_slots text, in_study int",
        "trial_id int, state text, worker_id text, expires_at timestamptz, attempt int, host text",
        _RENEW,
    ),
}
"""By name, the arguments, the columns of the answer and the body of each function."""

MAKING = tuple(_function(name, *parts) for name, parts in ROUTINES.items())
"""SQL: the functions, made or made anew."""

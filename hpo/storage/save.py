"""Save a batch: one statement to see which trials are still ours, one that writes everything about them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from optuna.trial import TrialState
from sqlalchemy import Connection, text

from hpo.messages import EPOCH_METRICS
from hpo.own_metrics import metrics_text
from hpo.storage.optuna_schema import (
    INTERMEDIATE,
    INTERMEDIATE_TYPE,
    PARAMS,
    RUNNING,
    STATE_TYPE,
    STUDY_SYSTEM_ATTRS,
    STUDY_USER_ATTRS,
    SYSTEM_ATTRS,
    TRIALS,
    USER_ATTRS,
    VALUE_TYPE,
    VALUES,
    WAITING,
    as_stored,
    distribution_text,
)
from hpo.storage.tables import CHANGE, COUNTED_ATTEMPTS, COUNTED_DEATHS, UTC_NOW
from hpo.storage.write_batch import SaveResult, WriteBatch

__all__ = ["save"]

# FOR UPDATE, as Optuna's own tell: a trial that was failed in the dashboard meanwhile is seen, not overwritten.
_GUARD = text(
    f"""
    SELECT t.trial_id, CAST(t.state AS text), t.datetime_complete, l.worker_id
    FROM {TRIALS} t LEFT JOIN hpo_leases l ON l.trial_id = t.trial_id
    WHERE t.trial_id = ANY(CAST(:ids AS int[])) ORDER BY t.trial_id FOR UPDATE OF t
    """
)
_STORED_VALUES = text(
    f"SELECT trial_id, objective, value, CAST(value_type AS text) FROM {VALUES}"
    " WHERE trial_id = ANY(CAST(:ids AS int[])) ORDER BY trial_id, objective"
)


def save(connection: Connection, writes: WriteBatch, worker_id: str, *, adopt: bool = False) -> SaveResult:
    """Write `writes` in the caller's transaction; two statements, however many trials.

    Only trials that are RUNNING under a lease of `worker_id` are touched. Any other trial of the batch is `lost`,
    unless it already has the state that the batch gives it: then an earlier, uncertain commit went through. `adopt`
    also ends trials that wait with no holder: for outcomes replayed from a journal after the lease ran out.
    """
    owned, result = _sort_out(connection, writes, worker_id, adopt)
    parts = _Parts()
    _child_rows(parts, writes, owned)
    _study_rows(parts, writes)
    _outcomes(parts, writes, owned)
    _notes(parts, writes, owned)
    finished = dict(result.finished)
    for trial_id, completed in parts.execute(connection):
        finished[trial_id] = local_time(completed)
    return SaveResult(result.lost, finished, result.requeued | (owned & writes.requeues.keys()))


def local_time(stored: datetime | None) -> datetime | None:
    """Optuna keeps naive UTC and shows naive local time."""
    return None if stored is None else stored.replace(tzinfo=UTC).astimezone().replace(tzinfo=None)


def _sort_out(connection: Connection, writes: WriteBatch, worker_id: str, adopt: bool) -> tuple[set[int], SaveResult]:
    wanted = writes.trial_ids()
    if not wanted:
        return set(), SaveResult()
    rows = {row[0]: row for row in connection.execute(_GUARD, {"ids": sorted(wanted)})}
    owned: set[int] = set()
    lost: dict[int, TrialState | None] = {}
    done: dict[int, datetime | None] = {}
    requeued: set[int] = set()
    for trial_id in wanted:
        if trial_id not in rows:
            lost[trial_id] = None
            continue
        _, state, completed, holder = rows[trial_id]
        finish = writes.finishes.get(trial_id)
        free = state == WAITING and holder is None
        if (state == RUNNING and holder == worker_id) or (adopt and finish is not None and free):
            owned.add(trial_id)
        elif finish is not None and finish.state.name == state:
            done[trial_id] = local_time(completed)
        elif trial_id in writes.requeues and free:
            requeued.add(trial_id)
        else:
            lost[trial_id] = TrialState[state]
    for trial_id in _differing(connection, writes, done):
        lost[trial_id] = TrialState[rows[trial_id][1]]
        del done[trial_id]
    return owned, SaveResult(lost, done, frozenset(requeued))


def _differing(connection: Connection, writes: WriteBatch, done: Iterable[int]) -> list[int]:
    """Of the trials found in the state we want: those whose stored values are not ours."""
    to_check = [trial_id for trial_id in done if writes.finishes[trial_id].values is not None]
    if not to_check:
        return []
    stored: dict[int, list[tuple[float | None, str]]] = {trial_id: [] for trial_id in to_check}
    for trial_id, _, value, kind in connection.execute(_STORED_VALUES, {"ids": to_check}):
        stored[trial_id].append((value, kind))
    return [
        trial_id
        for trial_id in to_check
        if stored[trial_id] != [as_stored(value) for value in writes.finishes[trial_id].values or ()]
    ]


@dataclass(frozen=True)
class _Upsert:
    """Rows for one table. `types` are the array types; `key` how many leading columns identify a row."""

    table: str
    columns: Sequence[str]
    types: Sequence[str]
    key: int


_PARAMS = _Upsert(
    PARAMS,
    ("trial_id", "param_name", "param_value", "distribution_json"),
    ("int", "text", "double precision", "text"),
    2,
)
_INTERMEDIATE = _Upsert(
    INTERMEDIATE,
    ("trial_id", "step", "intermediate_value", "intermediate_value_type"),
    ("int", "int", "double precision", INTERMEDIATE_TYPE),
    2,
)
_VALUES = _Upsert(
    VALUES,
    ("trial_id", "objective", "value", "value_type"),
    ("int", "int", "double precision", VALUE_TYPE),
    2,
)
_EPOCH_COLUMNS = (*EPOCH_METRICS, "seconds")
_EPOCHS = _Upsert(
    "hpo_epochs",
    ("trial_id", "epoch", *_EPOCH_COLUMNS, "metrics"),
    ("int", "int", *["double precision"] * len(_EPOCH_COLUMNS), "text"),
    2,
)


def _attributes(table: str, owner: str) -> _Upsert:
    return _Upsert(table, (owner, "key", "value_json"), ("int", "text", "text"), 2)


class _Parts:
    """One statement grown from many: each upsert and update is a data-modifying WITH query of the same SELECT."""

    def __init__(self) -> None:
        self.queries: list[str] = []
        self.bound: dict[str, Any] = {}
        self.ended = "(SELECT NULL::int AS trial_id, NULL::timestamp AS datetime_complete WHERE false)"

    def arrays(self, types: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
        names = []
        for column, kind in enumerate(types):
            name = f"a{len(self.bound)}"
            self.bound[name] = [row[column] for row in rows]
            names.append(f"CAST(:{name} AS {kind}[])")
        return f"unnest({', '.join(names)})"

    def upsert(self, into: _Upsert, rows: Sequence[Sequence[Any]]) -> None:
        if not rows:
            return
        columns = ", ".join(into.columns)
        changes = ", ".join(f"{name} = excluded.{name}" for name in into.columns[into.key :])
        self.queries.append(
            f"INSERT INTO {into.table} ({columns}) SELECT * FROM {self.arrays(into.types, rows)}"
            f" ON CONFLICT ({', '.join(into.columns[: into.key])}) DO UPDATE SET {changes}"
        )

    def execute(self, connection: Connection) -> Sequence[Any]:
        if not self.queries:
            return []
        body = ", ".join(f"q{i} AS ({query})" for i, query in enumerate(self.queries))
        return connection.execute(text(f"WITH {body} SELECT * FROM {self.ended} AS ended"), self.bound).all()


def _child_rows(parts: _Parts, writes: WriteBatch, owned: set[int]) -> None:
    parts.upsert(
        _PARAMS,
        [
            (trial_id, name, internal, distribution_text(distribution))
            for trial_id, named in writes.params.items()
            if trial_id in owned
            for name, (internal, distribution) in named.items()
        ],
    )
    parts.upsert(
        _INTERMEDIATE,
        [
            (trial_id, step, *as_stored(value))
            for trial_id, steps in writes.intermediate.items()
            if trial_id in owned
            for step, value in steps.items()
        ],
    )
    parts.upsert(
        _EPOCHS,
        [
            (row.trial_id, row.epoch, *(getattr(row, name) for name in _EPOCH_COLUMNS), metrics_text(row.metrics))
            for row in writes.epochs.values()
            if row.trial_id in owned
        ],
    )
    for table, attrs in (
        (USER_ATTRS, writes.user_attrs),
        (SYSTEM_ATTRS, writes.system_attrs),
    ):
        parts.upsert(_attributes(table, "trial_id"), _attribute_rows(attrs, owned))


def _study_rows(parts: _Parts, writes: WriteBatch) -> None:
    for table, attrs in (
        (STUDY_USER_ATTRS, writes.study_user_attrs),
        (STUDY_SYSTEM_ATTRS, writes.study_system_attrs),
    ):
        parts.upsert(_attributes(table, "study_id"), _attribute_rows(attrs, attrs.keys()))


def _attribute_rows(attrs: dict[int, dict[str, Any]], owners: Iterable[int]) -> list[tuple[int, str, str]]:
    keep = set(owners)
    return [
        (owner, key, json.dumps(value))
        for owner, named in attrs.items()
        if owner in keep
        for key, value in named.items()
    ]


def _outcomes(parts: _Parts, writes: WriteBatch, owned: set[int]) -> None:
    finishes = [finish for finish in writes.finishes.values() if finish.trial_id in owned]
    if finishes:
        rows = [
            (finish.trial_id, objective, *as_stored(value))
            for finish in finishes
            for objective, value in enumerate(finish.values or ())
        ]
        parts.upsert(_VALUES, rows)
        source = parts.arrays(("int", STATE_TYPE), [(finish.trial_id, finish.state.name) for finish in finishes])
        parts.queries.append(
            f"UPDATE {TRIALS} SET state = f.state, datetime_complete = {UTC_NOW} FROM {source} AS f(id, state)"
            f" WHERE {TRIALS}.trial_id = f.id RETURNING {TRIALS}.trial_id, {TRIALS}.datetime_complete"
        )
        parts.ended = f"q{len(parts.queries) - 1}"
    requeues = [requeue for requeue in writes.requeues.values() if requeue.trial_id in owned]
    if requeues:
        source = parts.arrays(("int",), [(requeue.trial_id,) for requeue in requeues])
        parts.queries.append(f"UPDATE {TRIALS} SET state = '{WAITING}' WHERE trial_id IN (SELECT * FROM {source})")
    freed: list[tuple[int, int | None, str | None]] = [(finish.trial_id, None, None) for finish in finishes]
    freed += [(requeue.trial_id, requeue.trainer_deaths, requeue.checkpoint) for requeue in requeues]
    if freed:
        parts.queries.append(
            "UPDATE hpo_leases l SET worker_id = NULL, expires_at = NULL, checkpoint = coalesce(f.place, l.checkpoint),"
            f" attempt = coalesce({COUNTED_ATTEMPTS} + f.deaths, l.attempt),"
            f" trainer_deaths = coalesce({COUNTED_DEATHS} + f.deaths, l.trainer_deaths)"
            f" FROM {parts.arrays(('int', 'int', 'text'), freed)} AS f(id, deaths, place) WHERE trial_id = f.id"
        )


def _notes(parts: _Parts, writes: WriteBatch, owned: set[int]) -> None:
    """Trials as this batch leaves them. The triggers of hpo.storage.changes find them noted, and leave it at that."""
    rows = [
        (trial_id, note)
        for trial_id, note in writes.notes.items()
        if note is not None and trial_id in owned and trial_id not in writes.requeues
    ]
    if rows:
        parts.queries.append(
            f"INSERT INTO hpo_changes (trial_id, study_id, change, note, ended)"
            f" SELECT n.id, t.study_id, {CHANGE}, n.note, d.datetime_complete"
            f" FROM {parts.arrays(('int', 'text'), rows)} AS n(id, note) JOIN {TRIALS} t ON t.trial_id = n.id"
            f" LEFT JOIN {parts.ended} AS d ON d.trial_id = n.id WHERE t.study_id IS NOT NULL ORDER BY n.id"
            " ON CONFLICT (trial_id) DO UPDATE SET study_id = excluded.study_id, change = excluded.change,"
            " note = excluded.note, ended = excluded.ended"
        )

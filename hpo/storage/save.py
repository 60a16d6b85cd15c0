"""Save a batch: one statement that sees which trials are still ours, and writes everything about them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from optuna.trial import TrialState
from sqlalchemy import Connection, text

from hpo.own_metrics import metrics_text
from hpo.storage.optuna_schema import VALUES, WAITING, as_stored, distribution_text
from hpo.storage.saving import ENDED, EPOCH_COLUMNS, FREED, NOTED, REQUEUED, UPSERTS, Rows
from hpo.storage.write_batch import SaveResult, WriteBatch

__all__ = ["save"]

_STORED_VALUES = text(
    f"SELECT trial_id, objective, value, CAST(value_type AS text) FROM {VALUES}"
    " WHERE trial_id = ANY(CAST(:ids AS int[])) ORDER BY trial_id, objective"
)


def save(connection: Connection, writes: WriteBatch, worker_id: str, *, adopt: bool = False) -> SaveResult:
    """Write `writes` in the caller's transaction; one statement, however many trials.

    Only trials that are RUNNING under a lease of `worker_id` are touched. Any other trial of the batch is `lost`,
    unless it already has the state that the batch gives it: then an earlier, uncertain commit went through. `adopt`
    also ends trials that wait with no holder: for outcomes replayed from a journal after the lease ran out.
    """
    call = _Call(sorted(writes.trial_ids()), worker_id, adopt)
    _child_rows(call, writes)
    _outcomes(call, writes)
    if not call:
        return SaveResult()
    return _sort_out(connection, writes, {row[0]: row for row in call.execute(connection)})


def local_time(stored: datetime | None) -> datetime | None:
    """Optuna keeps naive UTC and shows naive local time."""
    return None if stored is None else stored.replace(tzinfo=UTC).astimezone().replace(tzinfo=None)


def _sort_out(connection: Connection, writes: WriteBatch, rows: Mapping[int, Any]) -> SaveResult:
    """rows: by id, every trial of the batch that exists: its state before, when it ended, its holder, whether it was
    ours to write about."""
    lost: dict[int, TrialState | None] = {}
    finished: dict[int, datetime | None] = {}
    found: dict[int, datetime | None] = {}  # in the state that they were to get
    requeued: set[int] = set()
    for trial_id in writes.trial_ids():
        if trial_id not in rows:
            lost[trial_id] = None
            continue
        _, state, completed, holder, ours = rows[trial_id]
        finish = writes.finishes.get(trial_id)
        if ours and finish is not None:
            finished[trial_id] = local_time(completed)
        elif not ours and finish is not None and finish.state.name == state:
            found[trial_id] = local_time(completed)
        elif trial_id in writes.requeues and (ours or (state == WAITING and holder is None)):
            requeued.add(trial_id)
        elif not ours:
            lost[trial_id] = TrialState[state]
    for trial_id in _differing(connection, writes, found):
        lost[trial_id] = TrialState[rows[trial_id][1]]
        del found[trial_id]
    return SaveResult(lost, finished | found, frozenset(requeued))


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


class _Call:
    """One call of `hpo_save`, grown from rows of many kinds."""

    def __init__(self, trial_ids: Sequence[int], worker_id: str, adopt: bool) -> None:
        self._arguments = [":worker", ":adopt", "CAST(:ids AS int[])"]
        self._bound: dict[str, Any] = {"worker": worker_id, "adopt": adopt, "ids": trial_ids or None}

    def give(self, rows: Rows, values: Sequence[Sequence[Any]]) -> None:
        if not values:
            return
        for place, (argument, kind) in enumerate(zip(rows.arguments, rows.types, strict=True)):
            self._arguments.append(f"{argument} => CAST(:{argument} AS {kind}[])")
            self._bound[argument] = [value[place] for value in values]

    def __bool__(self) -> bool:
        return len(self._bound) > 3 or self._bound["ids"] is not None

    def execute(self, connection: Connection) -> Sequence[Any]:
        """What `hpo_save` answers."""
        return connection.execute(text(f"SELECT * FROM hpo_save({', '.join(self._arguments)})"), self._bound).all()


def _child_rows(call: _Call, writes: WriteBatch) -> None:
    call.give(
        UPSERTS["params"],
        [
            (trial_id, name, internal, distribution_text(distribution))
            for trial_id, named in writes.params.items()
            for name, (internal, distribution) in named.items()
        ],
    )
    call.give(
        UPSERTS["reports"],
        [
            (trial_id, step, *as_stored(value))
            for trial_id, steps in writes.intermediate.items()
            for step, value in steps.items()
        ],
    )
    call.give(
        UPSERTS["epochs"],
        [
            (row.trial_id, row.epoch, *(getattr(row, name) for name in EPOCH_COLUMNS), metrics_text(row.metrics))
            for row in writes.epochs.values()
        ],
    )
    for name, attrs in (
        ("attrs", writes.user_attrs),
        ("system_attrs", writes.system_attrs),
        ("study_attrs", writes.study_user_attrs),
        ("study_system_attrs", writes.study_system_attrs),
    ):
        rows = [(owner, key, json.dumps(value)) for owner, named in attrs.items() for key, value in named.items()]
        call.give(UPSERTS[name], rows)


def _outcomes(call: _Call, writes: WriteBatch) -> None:
    finishes, requeues = writes.finishes.values(), writes.requeues.values()
    call.give(
        UPSERTS["results"],
        [
            (finish.trial_id, objective, *as_stored(value))
            for finish in finishes
            for objective, value in enumerate(finish.values or ())
        ],
    )
    call.give(ENDED, [(finish.trial_id, finish.state.name) for finish in finishes])
    call.give(REQUEUED, [(requeue.trial_id,) for requeue in requeues])
    freed: list[tuple[int, int | None, str | None]] = [(finish.trial_id, None, None) for finish in finishes]
    freed += [(requeue.trial_id, requeue.trainer_deaths, requeue.checkpoint) for requeue in requeues]
    call.give(FREED, freed)
    call.give(NOTED, [(each, note) for each, note in writes.notes.items() if each not in writes.requeues])

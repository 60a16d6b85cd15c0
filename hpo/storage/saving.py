"""What `hpo_save` does in the database, and the rows that it takes: hpo.storage.save calls it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from hpo.messages import EPOCH_METRICS
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
)
from hpo.storage.tables import CHANGE, COUNTED_ATTEMPTS, COUNTED_DEATHS, UTC_NOW

__all__ = ["ENDED", "EPOCH_COLUMNS", "FREED", "NOTED", "REQUEUED", "SAVING", "UPSERTS", "Rows"]


@dataclass(frozen=True)
class Rows:
    """Rows that `hpo_save` takes, as one array for each column. `types` are the arrays'; where they go into a `table`
    as they are, `key` is how many leading columns identify a row."""

    name: str
    columns: Sequence[str]
    types: Sequence[str]
    table: str = ""
    key: int = 0

    @property
    def arguments(self) -> list[str]:
        return [f"{self.name}_{column}" for column in self.columns]


def _attributes(name: str, table: str, owner: str) -> Rows:
    return Rows(name, (owner, "key", "value_json"), ("int", "text", "text"), table, 2)


EPOCH_COLUMNS = (*EPOCH_METRICS, "seconds")
UPSERTS = {
    rows.name: rows
    for rows in (
        Rows(
            "params",
            ("trial_id", "param_name", "param_value", "distribution_json"),
            ("int", "text", "double precision", "text"),
            PARAMS,
            2,
        ),
        Rows(
            "reports",
            ("trial_id", "step", "intermediate_value", "intermediate_value_type"),
            ("int", "int", "double precision", INTERMEDIATE_TYPE),
            INTERMEDIATE,
            2,
        ),
        Rows(
            "epochs",
            ("trial_id", "epoch", *EPOCH_COLUMNS, "metrics"),
            ("int", "int", *["double precision"] * len(EPOCH_COLUMNS), "text"),
            "hpo_epochs",
            2,
        ),
        _attributes("attrs", USER_ATTRS, "trial_id"),
        _attributes("system_attrs", SYSTEM_ATTRS, "trial_id"),
        _attributes("study_attrs", STUDY_USER_ATTRS, "study_id"),
        _attributes("study_system_attrs", STUDY_SYSTEM_ATTRS, "study_id"),
        Rows(
            "results",
            ("trial_id", "objective", "value", "value_type"),
            ("int", "int", "double precision", VALUE_TYPE),
            VALUES,
            2,
        ),
    )
}
"""By name, the rows that go into a table as they are, or replace those of the same key."""
NOTED = Rows("noted", ("id", "note"), ("int", "text"))
"""Trials as this call leaves them, for other hosts."""
ENDED = Rows("ended", ("id", "state"), ("int", STATE_TYPE))
"""Trials that have ended, with their outcome."""
REQUEUED = Rows("requeued", ("id",), ("int",))
"""Trials that wait again."""
FREED = Rows("freed", ("id", "deaths", "place"), ("int", "int", "text"))
"""Leases that nobody holds any more; trainers that died, and the checkpoint, of a trial that waits again."""

_GIVEN = Rows("in", ("ids",), ("int",))
_WRITTEN = (*UPSERTS.values(), NOTED, ENDED, REQUEUED, FREED)


_OURS = f"t.state = '{RUNNING}' AND l.worker_id = in_worker"
"""SQL: of a trial that the caller may write about."""
_ADOPTED = f"in_adopt AND t.trial_id = ANY(ended_id) AND t.state = '{WAITING}' AND l.worker_id IS NULL"
"""SQL: of one that nobody holds, whose outcome somebody brings who held it."""

# FOR UPDATE, as Optuna's own tell: a trial that was failed in the dashboard meanwhile is seen, not overwritten.
_HOLD = f"""
    FOR trial_id, state, datetime_complete, worker_id, ours IN
        SELECT t.trial_id, CAST(t.state AS text), t.datetime_complete, l.worker_id,
            coalesce(({_OURS}) OR ({_ADOPTED}), false)
        FROM {TRIALS} t LEFT JOIN hpo_leases l ON l.trial_id = t.trial_id
        WHERE t.trial_id = ANY(in_ids) ORDER BY t.trial_id FOR UPDATE OF t
    LOOP
        IF ours THEN
            mine := mine || trial_id;
            IF trial_id = ANY(ended_id) THEN datetime_complete := moment; END IF;
        END IF;
        RETURN NEXT;
    END LOOP"""


def _table(rows: Rows) -> str:
    return f"unnest({', '.join(rows.arguments)}) AS {rows.name}({', '.join(rows.columns)})"


def _if_given(rows: Rows, statement: str) -> str:
    return f"IF {rows.arguments[0]} IS NOT NULL THEN {statement}; END IF;"


def _upsert(rows: Rows) -> str:
    owner = rows.columns[0]
    changes = ", ".join(f"{name} = excluded.{name}" for name in rows.columns[rows.key :])
    return _if_given(
        rows,
        f"INSERT INTO {rows.table} ({', '.join(rows.columns)}) SELECT * FROM {_table(rows)}"
        f"{f' WHERE {rows.name}.{owner} = ANY(mine)' if owner == 'trial_id' else ''}"
        f" ON CONFLICT ({', '.join(rows.columns[: rows.key])}) DO UPDATE SET {changes}",
    )


# The triggers of hpo.storage.changes find these noted, and leave it at that.
_NOTE = (
    "INSERT INTO hpo_changes (trial_id, study_id, change, note, ended)"
    f" SELECT noted.id, t.study_id, {CHANGE}, noted.note, CASE WHEN noted.id = ANY(ended_id) THEN moment END"
    f" FROM {_table(NOTED)} JOIN {TRIALS} t ON t.trial_id = noted.id"
    " WHERE t.study_id IS NOT NULL AND noted.id = ANY(mine) ORDER BY 1"
    " ON CONFLICT (trial_id) DO UPDATE SET study_id = excluded.study_id, change = excluded.change,"
    " note = excluded.note, ended = excluded.ended"
)
_END = (
    f"UPDATE {TRIALS} SET state = ended.state, datetime_complete = moment FROM {_table(ENDED)}"
    f" WHERE {TRIALS}.trial_id = ended.id AND ended.id = ANY(mine)"
)
_REQUEUE = f"UPDATE {TRIALS} SET state = '{WAITING}' WHERE trial_id = ANY(requeued_id) AND trial_id = ANY(mine)"
_FREE = (
    "UPDATE hpo_leases l SET worker_id = NULL, expires_at = NULL, checkpoint = coalesce(freed.place, l.checkpoint),"
    f" attempt = coalesce({COUNTED_ATTEMPTS} + freed.deaths, l.attempt),"
    f" trainer_deaths = coalesce({COUNTED_DEATHS} + freed.deaths, l.trainer_deaths)"
    f" FROM {_table(FREED)} WHERE l.trial_id = freed.id AND freed.id = ANY(mine)"
)
_SAVE = f"""
    DECLARE moment timestamp := {UTC_NOW}; mine int[];
    BEGIN
        {_if_given(_GIVEN, _HOLD)}
        {_if_given(NOTED, _NOTE)}
        {" ".join(map(_upsert, UPSERTS.values()))}
        {_if_given(ENDED, _END)}
        {_if_given(REQUEUED, _REQUEUE)}
        {_if_given(FREED, _FREE)}
    END
    """

SAVING = (
    "in_worker text, in_adopt boolean, in_ids int[], "
    + ", ".join(
        f"{argument} {kind}[] DEFAULT NULL"
        for rows in _WRITTEN
        for argument, kind in zip(rows.arguments, rows.types, strict=True)
    ),
    "trial_id int, state text, datetime_complete timestamp, worker_id text, ours boolean",
    _SAVE,
)
"""The arguments, the columns of the answer, and the body of `hpo_save`."""

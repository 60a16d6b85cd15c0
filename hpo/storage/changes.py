"""Which trials changed since they were last read, whoever changed them, at the cost of what changed.

Triggers on Optuna's tables note in hpo_changes, for each trial, the transaction that changed it last, whether that was
hpo's, plain Optuna's or a dashboard's. Transactions are numbered as they begin to write, and commit in any order: a
reader that went on after the highest number would miss one that is still under way. It goes on at the oldest that was
under way when it looked (docs/decisions/changes.md).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from sqlalchemy import Connection, text

from hpo.storage.optuna_schema import PARAMS, SYSTEM_ATTRS, TRIALS
from hpo.storage.tables import CHANGE

__all__ = ["NOTING", "TRIGGERS", "Changes", "Horizon", "horizon_now", "read_changed"]


LOST_AT_MOST = 20_000
"""Transactions that end within the second in which a commit may not have reached the disk yet, and more."""


@dataclass(frozen=True)
class Horizon:
    """How far a reader has read.

    ended:  the lowest number of a transaction that may still have been under way; all below had ended, and were read
    beyond: by trial, the transactions from there on that were seen all the same: they were committed already
    """

    ended: int = 0
    beyond: Mapping[int, int] = field(default_factory=dict)

    def advance(self, oldest: int, changed: Sequence[tuple[int, int]]) -> tuple[list[int], Horizon]:
        """Ids of trials that have changed, and the horizon after that.

        oldest:  of the transactions that are under way
        changed: (trial, transaction) of every change from `ended` on that has been committed
        """
        fresh = [trial_id for trial_id, change in changed if self.beyond.get(trial_id) != change]
        return fresh, Horizon(oldest, {trial_id: change for trial_id, change in changed if change >= oldest})

    def after_an_outage(self) -> Horizon:
        """A server that crashed gives numbers of its last moment to others, which this reader has behind it."""
        return Horizon(max(0, self.ended - LOST_AT_MOST))


@dataclass(frozen=True)
class Changes:
    """Ids of trials that changed, in the order of the changes; by id, their notes with when they ended; and where to
    go on."""

    trial_ids: list[int]
    notes: dict[int, tuple[str | None, datetime | None]]
    horizon: Horizon


def _number(of: str) -> str:
    return f"CAST(CAST({of} AS text) AS bigint)"


_OLDEST = _number("pg_snapshot_xmin(pg_current_snapshot())")
"""SQL: the number of the oldest transaction under way."""
_LAST = (
    f"greatest({_number('pg_snapshot_xmax(pg_current_snapshot())')} - 1, {_number('pg_current_xact_id_if_assigned()')})"
)
"""SQL: the highest number of a transaction that can be seen; it may be this very one."""

# Higher numbers are left over from another server, whose tables were restored here.
_CHANGED = text(
    f"""
    SELECT {_OLDEST}, c.trial_id, c.change, c.note, c.ended FROM (SELECT 1) AS always LEFT JOIN hpo_changes c
        ON c.study_id = :study AND c.change >= :since AND c.change <= {_LAST}
    ORDER BY c.change
    """
)


def horizon_now(connection: Connection) -> Horizon:
    """For a reader that reads everything after this call."""
    return Horizon(connection.execute(text(f"SELECT {_OLDEST}")).scalar_one())


def read_changed(connection: Connection, study_id: int, since: Horizon) -> Changes:
    """Trials of the study that changed since then: created, begun, given a parameter or a system attribute, ended.

    Reports and user attributes alone are no change. What one transaction did is seen whole or not at all, and no
    transaction is missed. A trial may be named again without having changed, after a restored backup only.
    """
    bound = {"study": study_id, "since": since.ended}
    rows = connection.execute(_CHANGED, bound).all()
    if rows[0][0] < since.ended:  # another server, or this one as it was before: everything may be different
        rows = connection.execute(_CHANGED, {**bound, "since": 0}).all()
        since = Horizon()
    trial_ids, horizon = since.advance(rows[0][0], [(row[1], row[2]) for row in rows if row[1] is not None])
    return Changes(trial_ids, {row[1]: (row[3], row[4]) for row in rows}, horizon)


# The row of the transaction that changed a trial last. Sorted, so that two transactions never wait in a circle.
_NOTE = """
    INSERT INTO %1$I.hpo_changes AS c (trial_id, study_id, change)
    SELECT DISTINCT {trials}.trial_id, {trials}.study_id, {change} FROM {source}
    WHERE {trials}.study_id IS NOT NULL ORDER BY 1
    ON CONFLICT (trial_id) DO UPDATE
        SET study_id = excluded.study_id, change = excluded.change, note = NULL, ended = NULL
        WHERE c.change IS DISTINCT FROM excluded.change;
"""


def _function(name: str, trials: str, source: str) -> str:
    """SQL: make a trigger's function. It writes as whoever made the tables: others need no right on hpo_changes."""
    return f"""
    DO $do$ BEGIN EXECUTE format($make$
        CREATE OR REPLACE FUNCTION %1$I.{name}() RETURNS trigger LANGUAGE plpgsql
        SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $body$
        BEGIN {_NOTE.format(trials=trials, source=source, change=CHANGE)} RETURN NULL; END $body$
    $make$, (SELECT relnamespace::regnamespace::text FROM pg_class WHERE oid = to_regclass('hpo_changes'))); END $do$
    """


TRIGGERS = {
    f"hpo_{table}_{event.lower()}": (table, event, function)
    for table, function in (
        (TRIALS, "hpo_note_trials"),
        (PARAMS, "hpo_note_parts"),
        (SYSTEM_ATTRS, "hpo_note_parts"),
    )
    for event in ("INSERT", "UPDATE")
}
"""By name, the table, the event and the function of each trigger that notes changes."""

NOTING = (
    _function("hpo_note_trials", "changed", "changed"),
    _function("hpo_note_parts", "t", f"changed JOIN %1$I.{TRIALS} t ON t.trial_id = changed.trial_id"),
    *(
        statement
        for name, (table, event, function) in TRIGGERS.items()
        for statement in (
            f"DROP TRIGGER IF EXISTS {name} ON {table}",
            f"CREATE TRIGGER {name} AFTER {event} ON {table} REFERENCING NEW TABLE AS changed"
            f" FOR EACH STATEMENT EXECUTE FUNCTION {function}()",
        )
    ),
)
"""SQL: what notes changes, made or made anew."""

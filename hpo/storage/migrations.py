"""The version of hpo's own tables, and the steps from each version to the next.

Every database records the version of its tables in hpo_schema; without that, they are of version 0. To change a table,
change it in `hpo.storage.tables` and add a Migration here with the next version. A missing table, and a missing column
that may be null or has a default, is added without a statement; everything else (an index, new contents) is in the
migration's statements.

Commands that only read work with tables of an older version as long as no table and no column is missing. A migration
that gives a column another meaning therefore gives it another name.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version

from sqlalchemy import Connection, text
from sqlalchemy.dialects import postgresql
from sqlalchemy.schema import CreateColumn

from hpo.storage import changes, routines, tables
from hpo.storage.optuna_schema import RUNNING, TRIALS, WAITING

__all__ = ["MIGRATIONS", "VERSION", "Migration", "is_mendable", "migrate"]


@dataclass(frozen=True)
class Migration:
    """One step. statements: SQL that has no effect when executed again, or on new tables."""

    version: int
    why: str
    statements: tuple[str, ...] = ()


MIGRATIONS = (
    Migration(
        1,
        "versions begin; adds what older databases may lack",
        (
            "ALTER TABLE hpo_workers ADD COLUMN IF NOT EXISTS code text",
            "ALTER TABLE hpo_leases ADD COLUMN IF NOT EXISTS claimed_at timestamptz",
            "ALTER TABLE hpo_leases ADD COLUMN IF NOT EXISTS trainer_deaths integer NOT NULL DEFAULT 0",
            # Optuna's own indexes make us read the whole study to find the few open trials, or the newest one.
            f"CREATE INDEX IF NOT EXISTS hpo_trials_open ON {TRIALS} (study_id, state)"
            f" WHERE state IN ('{RUNNING}', '{WAITING}')",
            f"CREATE INDEX IF NOT EXISTS hpo_trials_order ON {TRIALS} (study_id, trial_id)",
        ),
    ),
    Migration(
        2,
        "metrics of the user's own training, under any name",
        ("ALTER TABLE hpo_epochs ADD COLUMN IF NOT EXISTS metrics text",),
    ),
    Migration(3, "every change of a trial is noted, whoever writes it", changes.NOTING),
    Migration(4, "what every trial asks is planned once for each connection", routines.MAKING),
)
"""In the order in which they are done."""

VERSION = MIGRATIONS[-1].version
"""The version of the tables that this hpo works with."""


def migrate(connection: Connection, found: int, missing: Iterable[str]) -> None:
    """Make hpo's tables those of VERSION, from version `found`, inside the caller's transaction.

    missing: tables ("hpo_epochs"), columns ("hpo_leases.claimed_at") and triggers to make, each of which `is_mendable`
    """
    tables.metadata.create_all(connection)
    for name in missing:
        if "." in name:
            connection.execute(text(_add_column(name)))
    for migration in MIGRATIONS:
        # If something was missing, the version is not reliable: run them all, which does no harm.
        if migration.version > found or missing:
            for statement in migration.statements:
                connection.execute(text(statement))
    connection.execute(
        text("INSERT INTO hpo_schema (version, hpo) VALUES (:version, :hpo) ON CONFLICT (version) DO NOTHING"),
        {"version": VERSION, "hpo": _installed()},
    )


def is_mendable(name: str) -> bool:
    """Whether a missing table, or a missing column of a table with rows, can be made without knowing its content."""
    table, _, column = name.partition(".")
    if not column:
        return True
    declared = tables.metadata.tables[table].c[column]
    return bool(declared.nullable) or declared.server_default is not None


def _add_column(name: str) -> str:
    table, _, column = name.partition(".")
    declared = CreateColumn(tables.metadata.tables[table].c[column]).compile(dialect=postgresql.dialect())
    return f"ALTER TABLE {table} ADD COLUMN IF NOT EXISTS {declared}"


def _installed() -> str:
    try:
        return version("hpo")
    except PackageNotFoundError:
        return "unknown"

"""Make the tables, once, whoever comes first; refuse an Optuna, or a database of one, that hpo was not written for."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass

import optuna
from sqlalchemy import Connection, Engine, exc, text

from hpo.errors import StorageError
from hpo.storage import optuna_internals, optuna_schema, tables
from hpo.storage.failures import storage_error
from hpo.storage.optuna_schema import REVISION_TABLE, RUNNING, TRIALS, VERSION_TABLE, WAITING

__all__ = [
    "SchemaState",
    "check_installed_optuna",
    "check_schema",
    "ensure_schema",
    "knows_installed_optuna",
    "schema_state",
]

_LOCK = 0x68706F  # "hpo": any number that all our processes agree on
_MIN_SERVER = 130000
# Optuna's own indexes make us read the whole study to find the few open trials, or the newest one.
_INDEXES = (
    f"CREATE INDEX IF NOT EXISTS hpo_trials_open ON {TRIALS} (study_id, state)"
    f" WHERE state IN ('{RUNNING}', '{WAITING}')",
    f"CREATE INDEX IF NOT EXISTS hpo_trials_order ON {TRIALS} (study_id, trial_id)",
)
# A column that the tables of an earlier version lack.
_CODE = "ALTER TABLE hpo_workers ADD COLUMN IF NOT EXISTS code text"
_NO_CODE = "NOT EXISTS (SELECT FROM pg_attribute WHERE attrelid = to_regclass('hpo_workers') AND attname = 'code')"


@dataclass(frozen=True)
class SchemaState:
    """What was found. `optuna` is None without Optuna's tables; `ours` is False when one of our tables is missing."""

    server_version: int
    optuna: str | None
    wanted: str
    ours: bool

    @property
    def ready(self) -> bool:
        return self.ours and self.optuna == self.wanted and self.server_version >= _MIN_SERVER


def ensure_schema(engine: Engine) -> None:
    """Afterwards the database has Optuna's tables and ours. Two statements when it had them; eight processes may race.

    Raises StorageError, having changed nothing, for PostgreSQL before 13, an Optuna whose schema hpo was not written
    for, or tables of another schema.
    """
    check_installed_optuna()
    url = engine.url.render_as_string(hide_password=False)
    try:
        with engine.begin() as connection:
            state = _look(connection)
            if _check(state):
                return
        for attempt in range(3):
            try:
                _create(engine)
                return
            except (exc.IntegrityError, exc.ProgrammingError):
                # A plain Optuna process made its tables at the same moment; it does not know our lock.
                if attempt == 2:
                    raise
                time.sleep(0.5)
    except exc.SQLAlchemyError as error:
        raise storage_error(error, url) from error


def knows_installed_optuna() -> bool:
    """Whether hpo was written for the schema of the installed Optuna."""
    return optuna_internals.head_revision() in optuna_schema.REVISIONS


def check_installed_optuna() -> None:
    """Raise StorageError for an Optuna whose schema hpo was not written for. Asks no database."""
    if not knows_installed_optuna():
        installed = optuna_internals.head_revision()
        raise StorageError(
            f"Optuna {optuna.__version__} keeps its tables in schema {installed}, which this hpo does not know",
            evidence=[f"hpo was tried with schema {', '.join(optuna_schema.REVISIONS)} (Optuna {optuna_schema.TRIED})"],
            next=f"`pip install optuna=={optuna_schema.TRIED}`, or a newer hpo; commands that only read work meanwhile",
        )


def check_schema(engine: Engine) -> None:
    """Raise StorageError where `ensure_schema` would; nothing is written. SQLAlchemy's errors come through."""
    check_installed_optuna()
    with engine.connect() as connection:
        _check(_look(connection))


def schema_state(engine: Engine) -> SchemaState:
    """The state of the database's tables, without judging it. Raises StorageError when it cannot be reached."""
    try:
        with engine.begin() as connection:
            return _look(connection)
    except exc.SQLAlchemyError as error:
        raise storage_error(error, engine.url.render_as_string(hide_password=False)) from error


def _create(engine: Engine) -> None:
    logging.getLogger("alembic").setLevel(logging.WARNING)
    with engine.begin() as connection:
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK})
        if _check(_look(connection)):
            return
        optuna_schema.metadata.create_all(connection)
        optuna_schema.stamp(connection)
        tables.metadata.create_all(connection)
        for statement in (*_INDEXES, _CODE):
            connection.execute(text(statement))


def _look(connection: Connection) -> SchemaState:
    if connection.dialect.name != "postgresql":
        raise StorageError(
            f"{connection.dialect.name} is not PostgreSQL", next="give postgresql://user@host:5432/database"
        )
    missing = " OR ".join(f"to_regclass('{name}') IS NULL" for name in sorted(tables.metadata.tables))
    row = connection.execute(
        text(
            f"SELECT current_setting('server_version_num')::int, {missing} OR {_NO_CODE}, "
            f"to_regclass('{REVISION_TABLE}') IS NOT NULL, to_regclass('{VERSION_TABLE}') IS NOT NULL"
        )
    ).one()
    revision: str | None = None
    if row[2]:
        revision = connection.execute(text(f"SELECT max(version_num) FROM {REVISION_TABLE}")).scalar()
    elif row[3]:
        # Before alembic (Optuna < 1.0), or a process of Optuna that died between its tables and its stamp.
        stamped = connection.execute(text(f"SELECT max(schema_version) FROM {VERSION_TABLE}")).scalar()
        if stamped not in (None, optuna_schema.LEGACY_SCHEMA_VERSION):
            revision = f"before alembic ({stamped})"
    return SchemaState(int(row[0]), revision, optuna_internals.head_revision(), not row[1])


def _check(state: SchemaState) -> bool:
    """True when nothing is to be done, False when tables are to be made; raises when neither would be right."""
    if state.server_version < _MIN_SERVER:
        major, minor = state.server_version // 10000, state.server_version % 10000
        raise StorageError(
            f"the server is PostgreSQL {major}.{minor}; 13 is the oldest that works",
            next="upgrade the server, or leave --storage out for the one that comes with hpo",
        )
    if state.optuna not in (None, state.wanted):
        older = state.optuna in optuna_internals.known_revisions() or state.optuna.startswith("before")
        raise StorageError(
            f"the database has the tables of another Optuna: schema {state.optuna}",
            evidence=[f"the installed Optuna {optuna.__version__} works with schema {state.wanted}"],
            next="run `optuna storage upgrade --storage URL` (after a backup), or use a new database"
            if older
            else "install the Optuna that made it: `pip install -U optuna`, or use a new database",
        )
    return state.ready

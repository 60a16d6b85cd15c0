"""Make the tables once, or bring hpo's own up to date; refuse what hpo was not written for."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass

import optuna
from sqlalchemy import Connection, Engine, exc, text

from hpo.errors import StorageError
from hpo.storage import changes, migrations, optuna_internals, optuna_schema, routines, tables
from hpo.storage.database_url import hide_password
from hpo.storage.failures import storage_error
from hpo.storage.optuna_schema import REVISION_TABLE, VERSION_TABLE

__all__ = [
    "SchemaState",
    "check_installed_optuna",
    "check_readable",
    "check_schema",
    "ensure_schema",
    "knows_installed_optuna",
    "schema_state",
    "what_is_missing",
]

_MADE = (*(f"trigger {name}" for name in changes.TRIGGERS), *(f"function {name}" for name in routines.ROUTINES))
"""What stands beside the tables."""
_NOT_READ = {tables.changes.name, *_MADE}
"""What only a search works with."""
_MIN_SERVER = 130000


@dataclass(frozen=True)
class SchemaState:
    """What was found.

    optuna:  revision of Optuna's tables; None without them
    version: of hpo's tables (hpo.storage.migrations); 0 for those of an hpo that recorded none; None without any
    missing: hpo's tables ("hpo_epochs"), columns ("hpo_leases.claimed_at") and triggers ("trigger hpo_trials_insert")
             that are not there
    by:      the hpo that made or last migrated the tables; "" if none is recorded
    """

    server_version: int
    optuna: str | None
    wanted: str
    version: int | None
    missing: tuple[str, ...] = ()
    by: str = ""

    @property
    def ready(self) -> bool:
        up_to_date = self.version == migrations.VERSION and not self.missing
        return up_to_date and self.optuna == self.wanted and self.server_version >= _MIN_SERVER

    @property
    def readable(self) -> bool:
        """Whether hpo's tables have everything that commands that read ask for."""
        needed = [name for name in self.missing if name not in _NOT_READ]
        return self.version is not None and self.version <= migrations.VERSION and not needed

    @property
    def lost(self) -> tuple[str, ...]:
        """What is missing and cannot be made again, because nobody knows what was in it."""
        return tuple(name for name in self.missing if not migrations.is_mendable(name))


def ensure_schema(engine: Engine) -> None:
    """Make Optuna's tables and ours, or bring ours up to date. Two statements if nothing is missing; eight may race.

    Tables of an earlier hpo are migrated. Raises StorageError, having changed nothing, for PostgreSQL before 13, an
    Optuna whose schema hpo was not written for, tables of another schema or of a newer hpo, or with columns gone.
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


def check_readable(connection: Connection) -> None:
    """Raise StorageError where hpo's tables are not those that commands read; no table of hpo's at all is fine."""
    state = _look(connection)
    if state.version is None or state.readable:
        return
    url = connection.engine.url.render_as_string(hide_password=False)
    _check_version(state)
    raise StorageError(
        f"hpo's tables in {hide_password(url)} are not those that this hpo reads",
        evidence=what_is_missing(state),
        next="`hpo db init` makes what is missing and keeps what is there; so does the next `hpo run`",
    )


def what_is_missing(state: SchemaState) -> list[str]:
    """Lines that name the versions and every missing table and column."""
    versions = f"they are of version {state.version}, this hpo works with version {migrations.VERSION}"
    return [versions, *([f"missing: {', '.join(state.missing)}"] if state.missing else [])]


def _create(engine: Engine) -> None:
    logging.getLogger("alembic").setLevel(logging.WARNING)
    with engine.begin() as connection:
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": tables.LOCK})
        state = _look(connection)
        if _check(state):
            return
        optuna_schema.metadata.create_all(connection)
        optuna_schema.stamp(connection)
        migrations.migrate(connection, state.version or 0, state.missing if state.version is not None else ())


_OURS = ", ".join(f"to_regclass('{name}')" for name in sorted(tables.metadata.tables))
_NOTED = (
    "(SELECT array_agg(tgname::text) FROM pg_trigger WHERE tgenabled <> 'D' AND tgrelid IN"
    f" ({', '.join(sorted({f'to_regclass({table!r})' for table, _, _ in changes.TRIGGERS.values()}))}))"
)
"""SQL: the triggers on those of Optuna's tables whose changes are noted; null without any."""
_PLANNED = (
    "(SELECT array_agg(p.proname::text) FROM pg_proc p JOIN pg_class c ON c.relnamespace = p.pronamespace"
    " WHERE c.oid = to_regclass('hpo_changes') AND starts_with(p.proname, 'hpo_'))"
)
"""SQL: the functions beside hpo's tables; null without any."""
_COLUMNS = (
    "(SELECT array_agg(c.relname || '.' || a.attname) FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid"
    f" WHERE c.oid IN ({_OURS}) AND a.attnum > 0 AND NOT a.attisdropped)"
)
"""SQL: hpo's tables with their columns, as they are in the database; null without any."""


def _look(connection: Connection) -> SchemaState:
    if connection.dialect.name != "postgresql":
        raise StorageError(
            f"{connection.dialect.name} is not PostgreSQL", next="give postgresql://user@host:5432/database"
        )
    server, revised, stamped, allowed, present, noted, planned = connection.execute(
        text(
            f"SELECT current_setting('server_version_num')::int, to_regclass('{REVISION_TABLE}') IS NOT NULL,"
            f" to_regclass('{VERSION_TABLE}') IS NOT NULL, has_table_privilege(to_regclass('hpo_schema'), 'SELECT'),"
            f" {_COLUMNS}, {_NOTED}, {_PLANNED}"
        )
    ).one()
    columns = frozenset(present or ())
    # A user who may read the older tables but not this one sees no version, and can still read.
    versioned = allowed and {"hpo_schema.version", "hpo_schema.hpo"} <= columns
    of_optuna = f"(SELECT max(version_num) FROM {REVISION_TABLE})" if revised else "CAST(NULL AS text)"
    newest = " FROM hpo_schema ORDER BY version DESC LIMIT 1"
    ours = f"(SELECT version{newest}), (SELECT hpo{newest})" if versioned else "NULL, NULL"
    revision, version, by = connection.execute(text(f"SELECT {of_optuna}, {ours}")).one()
    if not revised and stamped:
        # Before alembic (Optuna < 1.0), or a process of Optuna that died between its tables and its stamp.
        legacy = connection.execute(text(f"SELECT max(schema_version) FROM {VERSION_TABLE}")).scalar()
        if legacy not in (None, optuna_schema.LEGACY_SCHEMA_VERSION):
            revision = f"before alembic ({legacy})"
    wanted = optuna_internals.head_revision()
    found = None if not columns else int(version or 0)
    made = {*(f"trigger {name}" for name in noted or ()), *(f"function {name}" for name in planned or ())}
    missing = (*_missing(columns), *(name for name in _MADE if name not in made))
    return SchemaState(int(server), revision, wanted, found, missing, str(by or ""))


def _missing(present: frozenset[str]) -> tuple[str, ...]:
    """Our tables, and the columns of existing ones, that are missing in the given "table.column"s. hpo_schema is not
    among them: `version` says whether it is there."""
    known = {name.partition(".")[0] for name in present} | {tables.schema.name}
    names = {table.name for table in tables.metadata.sorted_tables} - known
    for table in tables.metadata.sorted_tables:
        if table.name in known - {tables.schema.name}:
            names |= {f"{table.name}.{column.name}" for column in table.c} - present
    return tuple(sorted(names))


def _check_version(state: SchemaState) -> None:
    """Raise StorageError for tables of a newer hpo, or with columns gone that cannot be made again."""
    if state.version is not None and state.version > migrations.VERSION:
        raise StorageError(
            f"hpo's tables are of version {state.version}; this hpo works with version {migrations.VERSION}",
            evidence=[f"hpo {state.by} made or migrated them"] if state.by else [],
            next="use an hpo as new as that one, or another database",
        )
    if state.lost:
        raise StorageError(
            f"columns of hpo's tables are gone: {', '.join(state.lost)}",
            evidence=what_is_missing(state),
            next="restore the tables from a backup, or use another database: hpo cannot make their content again",
        )


def _check(state: SchemaState) -> bool:
    """True when there is nothing to do, False when tables must be made; raises when neither is right."""
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
    _check_version(state)
    return state.ready

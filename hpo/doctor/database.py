"""The database: does it answer, does it have the right tables and enough connections, and do the clocks agree?"""

from __future__ import annotations

import time
from collections.abc import Iterator

from sqlalchemy import text
from sqlalchemy.engine import Connection, Engine

from hpo.doctor.finding import Finding, Level
from hpo.results.reading import place_of
from hpo.storage.migrations import VERSION
from hpo.storage.schema import SchemaState, knows_installed_optuna, schema_state, what_is_missing

__all__ = ["examine_database"]

FULL, NEARLY_FULL = 0.95, 0.8
CLOCK_SECONDS = 2.0


def examine_database(engine: Engine) -> Iterator[Finding]:
    """Findings about reach, schema, connections and clock. Raises SQLAlchemy's errors and StorageError."""
    with engine.connect() as connection:
        connection.execute(text("SELECT 1"))
        began = time.perf_counter()
        version = connection.execute(text("SHOW server_version")).scalar_one()
        milliseconds = (time.perf_counter() - began) * 1e3
        yield Finding("database", "ok", f"PostgreSQL {version} answers in {milliseconds:.1f} ms", (place_of(engine),))
    yield _schema(engine)
    with engine.connect() as connection:
        yield _connections(connection)
        yield _clock(connection)


def _schema(engine: Engine) -> Finding:
    state = schema_state(engine)
    if state.ready and knows_installed_optuna():
        return Finding("schema", "ok", f"Optuna's tables ({state.optuna}) and hpo's (version {VERSION}) are there")
    if state.server_version < 130000:
        fact = f"the server is PostgreSQL {state.server_version // 10000}; 13 is the oldest that works"
        return Finding("schema", "fail", fact, next="upgrade the server")
    if not knows_installed_optuna():
        fact = f"the installed Optuna wants schema {state.wanted}, which this hpo does not know"
        return Finding("schema", "fail", fact, next="install the Optuna that hpo was tried with, or a newer hpo")
    if state.optuna not in (None, state.wanted):
        fact = f"the tables are of another Optuna: {state.optuna}, wanted {state.wanted}"
        return Finding("schema", "fail", fact, next="`optuna storage upgrade --storage URL` after a backup")
    if state.optuna is None or state.version is None:
        missing = "Optuna's tables are" if state.optuna is None else "hpo's tables are"
        return Finding(
            "schema", "warn", f"{missing} not there yet", next="`hpo run` creates them, and so does `hpo db init`"
        )
    return _outdated(state)


def _outdated(state: SchemaState) -> Finding:
    """The finding about hpo's tables where they are not those of this hpo."""
    details = tuple(what_is_missing(state))
    if state.version is not None and state.version > VERSION:
        by = f" (hpo {state.by})" if state.by else ""
        fact = f"hpo's tables are of version {state.version}{by}, newer than this hpo, which works with {VERSION}"
        return Finding("schema", "fail", fact, details, "use an hpo as new as that one, or another database")
    if state.lost:
        fact = f"columns of hpo's tables are gone: {', '.join(state.lost)}"
        return Finding("schema", "fail", fact, details, "restore the tables from a backup, or use another database")
    fact = f"hpo's tables are of version {state.version}, and this hpo's of version {VERSION}"
    if state.missing:
        fact = f"missing of hpo's tables: {', '.join(state.missing)}"
    return Finding(
        "schema", "warn", fact, details, "`hpo db init` mends that and keeps what is there, as `hpo run` does"
    )


def _connections(connection: Connection) -> Finding:
    used, most = connection.execute(
        text(
            "SELECT (SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'),"
            " current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int"
        )
    ).one()
    share = used / max(most, 1)
    level: Level = "fail" if share >= FULL else "warn" if share >= NEARLY_FULL else "ok"
    advice = "raise max_connections, or see who holds them: pg_stat_activity" if level != "ok" else ""
    return Finding("connections", level, f"{used} of {most} are used; each host of hpo uses two", next=advice)


def _clock(connection: Connection) -> Finding:
    before = time.time()
    there = float(connection.execute(text("SELECT extract(epoch FROM clock_timestamp())")).scalar_one())
    off = (before + time.time()) / 2 - there
    if abs(off) < CLOCK_SECONDS:
        return Finding("clock", "ok", f"this host and the database agree within {max(abs(off), 0.001):.3f} s")
    way = "ahead of" if off > 0 else "behind"
    return Finding(
        "clock",
        "warn",
        f"this host is {abs(off):.1f} s {way} the database",
        ("searches use the database's clock, so nothing is lost; times in logs do not match",),
        "let a time service (chrony, systemd-timesyncd) set both clocks",
    )

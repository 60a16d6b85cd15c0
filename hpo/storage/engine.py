"""The database connection: which URL, and an engine that survives restarts, silence and PgBouncer."""

from __future__ import annotations

import math
import os
import time
from pathlib import Path
from typing import Any

import psycopg2
import sqlalchemy
from sqlalchemy.engine import URL, Engine

from hpo.errors import StorageError
from hpo.settings import Settings
from hpo.storage import sqlstate
from hpo.storage.database_url import hide_password, parse_url
from hpo.storage.failures import is_outage, storage_error
from hpo.storage.moments import decode_moments
from hpo.storage.statement_watchdog import guarded

__all__ = ["hide_password", "is_outage", "open_engine", "resolve_url", "storage_error"]

# With the driver, because SQLAlchemy 2.1 takes another one for postgresql://, also when plain Optuna opens it.
_DRIVER = "postgresql+psycopg2"
IDLE_SECONDS = 5.0
"""A connection that nobody used for so long is tried before it is used again."""


def open_engine(url: str, *, application_name: str = "hpo", statement_seconds: float = 30.0) -> Engine:
    """An engine for `url`; nothing is connected yet. At most two connections to PostgreSQL per process.

    No statement, commit or connect waits longer than about `statement_seconds` for a silent server. Nothing here is
    session state, so PgBouncer in transaction pooling mode works. URLs that SQLAlchemy knows but PostgreSQL does not
    serve (sqlite) get SQLAlchemy's defaults: enough for commands that read.

    Raises StorageError for text that is no database URL or names a driver that is not installed.
    """
    parsed = parse_url(url)
    try:
        if not _is_postgres(parsed):
            return _other_engine(parsed)
        engine = sqlalchemy.create_engine(
            parsed.set(drivername=_DRIVER),
            pool_size=2,
            max_overflow=0,
            pool_timeout=statement_seconds,
            pool_recycle=900,
            pool_use_lifo=True,
            connect_args=_connect_args(parsed, application_name, statement_seconds),
        )
        sqlalchemy.event.listen(engine, "do_connect", lambda _, __, words, options: _connect(*words, **options))
        sqlalchemy.event.listen(engine, "checkin", _note_use)
        sqlalchemy.event.listen(engine, "checkout", _ping_if_idle)
        return engine
    except (sqlalchemy.exc.SQLAlchemyError, ImportError, ValueError) as error:
        raise storage_error(error, url) from error


def resolve_url(settings: Settings, storage: str | None = None, *, write: bool = True) -> str:
    """The URL to use: `storage` if given, else HPO_STORAGE, else the embedded server under `settings.home`, started.

    A PostgreSQL URL comes back as postgresql+psycopg2://, which plain Optuna and the dashboard open as well.
    The content of the file named by HPO_STORAGE_PASSWORD_FILE becomes the password of a PostgreSQL URL that has none.
    With `write`, anything but PostgreSQL is a StorageError.
    """
    url = storage or settings.storage
    if url is None:
        from hpo.storage.embedded.embedded import embedded_url

        return embedded_url(settings.home)
    parsed = parse_url(url)
    if _is_postgres(parsed):
        return _with_password_file(parsed).set(drivername=_DRIVER).render_as_string(hide_password=False)
    if write:
        raise StorageError(
            f"{hide_password(url)} is not a PostgreSQL database",
            evidence=[
                "commands that only read (status, best, trials, report, dashboard) read any URL of Optuna's RDBStorage"
            ],
            next="give postgresql://user@host:5432/database, or leave --storage out for the one that comes with hpo",
        )
    return url


def _is_postgres(url: URL) -> bool:
    """With any driver: hpo comes with psycopg2, which opens what the others do."""
    return url.drivername.partition("+")[0] in ("postgres", "postgresql")


def _other_engine(url: URL) -> Engine:
    engine = sqlalchemy.create_engine(url)
    if engine.dialect.is_async:
        plain = url.set(drivername=engine.dialect.name)
        raise StorageError(
            f"{url.render_as_string(hide_password=True)} names {engine.driver}, a driver for asyncio",
            next=f"write {plain.render_as_string(hide_password=True)}",
        )
    return engine


def _connect(*words: Any, **options: Any) -> Any:
    connection = sqlstate.connect(*words, **options)
    decode_moments(connection)
    return connection


def _note_use(_connection: Any, record: Any) -> None:
    record.info["used"] = time.monotonic()


def _ping_if_idle(connection: Any, record: Any, _proxy: Any) -> None:
    """A server may have restarted meanwhile; then the pool connects anew. Not at every use, as `pool_pre_ping` does:
    that was every second message of a host."""
    if time.monotonic() - record.info.get("used", math.inf) < IDLE_SECONDS:
        return
    try:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
        connection.autocommit = False
    except psycopg2.Error as error:
        raise sqlalchemy.exc.DisconnectionError from error


def _connect_args(url: URL, application_name: str, statement_seconds: float) -> dict[str, Any]:
    wanted = {
        "application_name": application_name,
        "connect_timeout": 5,
        "keepalives": 1,
        "keepalives_idle": 15,
        "keepalives_interval": 5,
        "keepalives_count": 3,
        "tcp_user_timeout": 30_000,  # milliseconds until unacknowledged data means a dead peer
    }
    args: dict[str, Any] = {key: value for key, value in wanted.items() if key not in url.query}  # the URL wins
    args["connection_factory"] = guarded(statement_seconds)
    return args


def _with_password_file(url: URL) -> URL:
    name = os.environ.get("HPO_STORAGE_PASSWORD_FILE")
    if not name or url.password is not None:
        return url
    try:
        password = Path(name).read_text(encoding="utf-8").rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        raise StorageError(
            f"cannot read the password file {name}", evidence=[str(error)], next="correct HPO_STORAGE_PASSWORD_FILE"
        ) from error
    return url.set(password=password)

"""What a database error means: worth another try, or a message for the user. No message shows a password."""

from __future__ import annotations

import os
import re

import psycopg2
from sqlalchemy import exc as sa
from sqlalchemy.engine import make_url

from hpo.disk import is_full
from hpo.errors import StorageError
from hpo.storage.database_url import database_file, hide_password, no_database_file, secrets_of
from hpo.storage.sqlstate import sqlstate

__all__ = ["is_disk_full", "is_outage", "storage_error"]

# https://www.postgresql.org/docs/current/errcodes-appendix.html
_OUTAGE_CODES = {
    "57P01",  # admin_shutdown: pg_terminate_backend, a restart
    "57P02",  # crash_shutdown
    "57P03",  # cannot_connect_now: starting up, shutting down, recovering
    "57P05",  # idle_session_timeout
    "57014",  # query_canceled: a statement timeout
    "25006",  # read_only_sql_transaction: a fail-over in progress
    "40001",  # serialization_failure
    "40P01",  # deadlock_detected
    "55P03",  # lock_not_available
    "25P03",  # idle_in_transaction_session_timeout
}
_OUTAGE_CLASSES = ("08", "53", "58")  # connection, resources (disk full, too many connections), I/O of the server

# What to do about a connection that the server refuses, by its code, whatever language it speaks.
_REFUSALS = {
    "28P01": "check user and password, or PGPASSWORD; in a URL, write @ : / % in them as %40 %3A %2F %25",
    "28000": "check the user in the URL, and let this host and user in: pg_hba.conf of the server",
    "3D000": "create it with `createdb`, or correct the name in the URL",
    "42501": "grant the user CONNECT on the database and CREATE on its schema",
    "53300": "raise max_connections, or run fewer processes",
    "57P03": "wait until the server is up, then run the command again",
}
# Messages of libpq, which have no code, and of the server where hpo.storage.sqlstate finds none:
# pattern -> (worth another try, the code it stands for or what to do about it).
_CONNECT_TEXTS: tuple[tuple[str, bool, str], ...] = (
    (r"password authentication failed|no password supplied", False, "28P01"),
    (r"no pg_hba\.conf entry|authentication failed|role .* does not exist", False, "28000"),
    (r"database .* does not exist", False, "3D000"),
    (r"permission denied", False, "42501"),
    (r"does not support SSL|certificate", False, "check sslmode and sslrootcert in the URL"),
    (r"invalid (connection option|port|integer)|invalid .* value", False, "check the options in the URL"),
    (r"too many clients|connection slots|too many connections", True, "53300"),
    (r"starting up|shutting down|recovery mode|not yet accepting", True, "57P03"),
    (r"translate host name", True, "check the host in the URL and the name service"),
)
_DRIVERS = {
    "mysql": "`pip install mysqlclient`; or `pip install pymysql`, and write mysql+pymysql://...",
    "mariadb": "`pip install mariadb`; or `pip install pymysql`, and write mariadb+pymysql://...",
}
_UNREACHABLE = "check host and port in the URL, and that the server is running"


def is_outage(error: BaseException) -> bool:
    """True when the same transaction may succeed later: connection lost, server starting, full or busy.

    False for refused logins, missing databases, wrong statements, and everything that is not a database error.
    """
    if isinstance(error, sa.TimeoutError | sa.DisconnectionError):
        return True
    driver = _driver_error(error)
    if driver is None:
        return False
    if code := sqlstate(driver):
        return code in _OUTAGE_CODES or code.startswith(_OUTAGE_CLASSES)
    if isinstance(error, sa.DBAPIError) and error.connection_invalidated:
        return True
    if not isinstance(driver, psycopg2.OperationalError | psycopg2.InterfaceError):
        return False
    known = _known_text(str(driver))
    return known is None or known[0]


def is_disk_full(error: BaseException) -> bool:
    """Whether the database has no room left, by what its server says, or the error of starting it."""
    driver = _driver_error(error) or error
    return sqlstate(driver) == "53100" or is_full(driver)


def storage_error(error: BaseException, url: str) -> StorageError:
    """The message for any error of SQLAlchemy or psycopg2 met while working on `url`; raise it `from error`."""
    if isinstance(error, StorageError):
        return error
    place = hide_password(url)
    driver = _driver_error(error)
    evidence = _lines(str(driver if driver is not None else error), url)
    if isinstance(error, sa.NoSuchModuleError | sa.ArgumentError) and driver is None:
        return StorageError(
            f"not a database URL: {place}", evidence=evidence, next="write it as postgresql://user@host:5432/database"
        )
    if isinstance(error, ImportError):
        return _no_driver(error, place)
    if driver is None:
        return _unexpected(error, place, evidence)
    if "file is not a database" in str(driver) and (file := database_file(make_url(url))) is not None:
        return no_database_file(file, place)
    code = sqlstate(driver)
    if is_disk_full(driver):
        return StorageError(
            f"the disk of {place} is full", evidence=evidence, next="make room there, then run it again"
        )
    if getattr(driver, "pgcode", None) in ("42501", "25006"):  # of a statement, not of a refused connection
        fact = f"not allowed to write to {place}"
        return StorageError(fact, evidence=evidence, next="grant the user CREATE on its schema, or use the primary")
    if code in ("42P01", "42703"):  # undefined_table, undefined_column
        return StorageError(
            f"a table or column that hpo needs is missing in {place}",
            evidence=evidence,
            next="`hpo doctor` names all that is missing, `hpo db init` makes it",
        )
    known = _known_text(str(driver)) if not code else None
    hint = _REFUSALS.get(code) or (known[1] if known else "")
    if hint or (not code and isinstance(driver, psycopg2.OperationalError | psycopg2.InterfaceError)):
        return StorageError(f"cannot reach the database {place}", evidence=evidence, next=hint or _UNREACHABLE)
    if is_outage(error):
        return StorageError(f"the database {place} is not available", evidence=evidence, next="run the command again")
    return _unexpected(error, place, evidence)


def _unexpected(error: BaseException, place: str, evidence: list[str]) -> StorageError:
    fact = f"the database {place} refused a statement ({type(error).__name__})"
    return StorageError(fact, evidence=evidence, next="run `hpo doctor`; if it finds nothing, please report a bug")


def _no_driver(error: ImportError, place: str) -> StorageError:
    backend = place.partition(":")[0].partition("+")[0]
    return StorageError(
        f"the package that opens {place} is not installed",
        evidence=[str(error)],
        next=_DRIVERS.get(backend, f"install it, or name the one you have: {backend}+driver://..."),
    )


def _driver_error(error: BaseException) -> BaseException | None:
    """The error below SQLAlchemy's wrapper; a psycopg2 error is its own."""
    if isinstance(error, sa.StatementError):
        return error.orig
    return error if _is_driver_error(error) else None


def _is_driver_error(error: BaseException) -> bool:
    return isinstance(error, psycopg2.Error)


def _known_text(text: str) -> tuple[bool, str] | None:
    for pattern, again, hint in _CONNECT_TEXTS:
        if re.search(pattern, text):
            return again, _REFUSALS.get(hint, hint)
    return None


def _lines(text: str, url: str) -> list[str]:
    """At most four lines of the driver's text, without any password that is known here."""
    secrets = {secret for secret in (os.environ.get("PGPASSWORD", ""), *secrets_of(url)) if secret}
    for secret in sorted(secrets, key=len, reverse=True):
        text = text.replace(secret, "***")
    lines = [line.strip()[:300] for line in text.splitlines() if line.strip()]
    return [line for line in lines if not line.startswith(("[SQL:", "[parameters:", "(Background"))][:4]

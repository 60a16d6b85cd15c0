"""What a database error means: worth another try, or a message for the user. A password never gets into either."""

from __future__ import annotations

import os
import re

import psycopg2
from sqlalchemy import exc as sa
from sqlalchemy.engine import make_url

from hpo.errors import StorageError

__all__ = ["hide_password", "is_outage", "storage_error"]

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

# A refused connection carries no code, only libpq's text: pattern -> (worth another try, what to do about it).
_CONNECT_TEXTS: tuple[tuple[str, bool, str], ...] = (
    (r"password authentication failed|no password supplied", False, "check user and password, or PGPASSWORD"),
    (r"no pg_hba\.conf entry|authentication failed", False, "let this host and user in: pg_hba.conf of the server"),
    (r"database .* does not exist", False, "create it with `createdb`, or correct the name in the URL"),
    (r"role .* does not exist", False, "create it with `createuser`, or correct the user in the URL"),
    (r"permission denied", False, "grant the user CONNECT on the database and CREATE on its schema"),
    (r"does not support SSL|certificate", False, "check sslmode and sslrootcert in the URL"),
    (r"invalid (connection option|port|integer)|invalid .* value", False, "check the options in the URL"),
    (r"too many clients|connection slots|too many connections", True, "raise max_connections, or run fewer processes"),
    (r"starting up|shutting down|recovery mode", True, "wait until the server is up, then run the command again"),
    (r"translate host name", True, "check the host in the URL and the name service"),
)
_UNREACHABLE = "check host and port in the URL, and that the server is running"


def hide_password(url: str) -> str:
    """`url` with its password shown as ***; text that is no URL loses whatever stands between `:` and `@`."""
    try:
        parsed = make_url(url)
    except (sa.ArgumentError, ValueError):
        return re.sub(r"(//[^:/@]*):.*@", r"\1:***@", url)
    query = {key: ("***" if "password" in key.lower() else value) for key, value in parsed.query.items()}
    return parsed.set(query=query).render_as_string(hide_password=True)


def is_outage(error: BaseException) -> bool:
    """True when the same transaction may succeed later: connection lost, server starting, full or busy.

    False for refused logins, missing databases, wrong statements, and everything that is not a database error.
    """
    if isinstance(error, sa.TimeoutError | sa.DisconnectionError):
        return True
    driver = _driver_error(error)
    if driver is None:
        return False
    code = getattr(driver, "pgcode", None)
    if code:
        return code in _OUTAGE_CODES or code.startswith(_OUTAGE_CLASSES)
    if isinstance(error, sa.DBAPIError) and error.connection_invalidated:
        return True
    if not isinstance(driver, psycopg2.OperationalError | psycopg2.InterfaceError):
        return False
    known = _known_text(str(driver))
    return known is None or known[0]


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
    if driver is None:
        return _unexpected(error, place, evidence)
    if "file is not a database" in str(driver):
        return StorageError(f"{place} is not a database", evidence=evidence, next="check the path in the URL")
    code = getattr(driver, "pgcode", None) or ""
    if code in ("53100", "58030"):
        return StorageError(
            f"the disk of {place} is full", evidence=evidence, next="make room there, then run it again"
        )
    if code in ("42501", "25006"):
        fact = f"not allowed to write to {place}"
        return StorageError(fact, evidence=evidence, next="grant the user CREATE on its schema, or use the primary")
    if code in ("42P01", "42703"):  # undefined_table, undefined_column
        return StorageError(
            f"a table or column that hpo needs is missing in {place}",
            evidence=evidence,
            next="`hpo doctor` names all that is missing, `hpo db init` makes it",
        )
    if not code:
        known = _known_text(str(driver))
        if known is not None or isinstance(driver, psycopg2.OperationalError | psycopg2.InterfaceError):
            hint = known[1] if known else _UNREACHABLE
            return StorageError(f"cannot reach the database {place}", evidence=evidence, next=hint)
    if is_outage(error):
        return StorageError(f"the database {place} is not available", evidence=evidence, next="run the command again")
    return _unexpected(error, place, evidence)


def _unexpected(error: BaseException, place: str, evidence: list[str]) -> StorageError:
    fact = f"the database {place} refused a statement ({type(error).__name__})"
    return StorageError(fact, evidence=evidence, next="run `hpo doctor`; if it finds nothing, this is a bug of ours")


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
            return again, hint
    return None


def _lines(text: str, url: str) -> list[str]:
    """At most four lines of the driver's text, without any password known here."""
    for secret in _secrets(url):
        text = text.replace(secret, "***")
    lines = [line.strip()[:300] for line in text.splitlines() if line.strip()]
    return [line for line in lines if not line.startswith(("[SQL:", "[parameters:", "(Background"))][:4]


def _secrets(url: str) -> list[str]:
    found = [os.environ.get("PGPASSWORD", "")]
    try:
        parsed = make_url(url)
    except (sa.ArgumentError, ValueError):
        found += re.findall(r"//[^:/@]*:(.*)@", url)
    else:
        found.append(str(parsed.password or ""))
        found += re.findall(r"//[^:/@]*:([^@/]*)@", url)  # as quoted in the URL
        found += [str(value) for key, value in parsed.query.items() if "password" in key.lower()]
    return sorted({secret for secret in found if secret}, key=len, reverse=True)

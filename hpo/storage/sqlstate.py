"""The SQLSTATE of a database error: what went wrong, whatever language the server speaks.

https://www.postgresql.org/docs/current/errcodes-appendix.html. psycopg2 gives the code of a statement that failed. Of a
connection that the server refuses it gives only libpq's text, in the language of the server (lc_messages). So a refused
connection is tried once more, with libpq set to print codes in place of texts.
"""

from __future__ import annotations

import ctypes
import re
import select
import time
from contextlib import closing, suppress
from functools import cache
from typing import Any

import psycopg2
from psycopg2 import extensions

__all__ = ["connect", "sqlstate"]

_CODES_ONLY = 3  # PQERRORS_SQLSTATE, in libpq since PostgreSQL 12
_SECONDS = 5.0
_BY_THE_SERVER = re.compile(r":  \S")  # "FATAL:  ...": libpq puts two spaces after a severity, and nowhere else
_CODE = re.compile(r":  ([0-9A-Z]{5})\s*$", re.MULTILINE)


def connect(*args: Any, **options: Any) -> Any:
    """psycopg2.connect, with errors that know their `sqlstate`."""
    try:
        return psycopg2.connect(*args, **options)
    except psycopg2.OperationalError as error:
        if error.pgcode is None and _BY_THE_SERVER.search(str(error)):
            error.sqlstate = _code_of_refusal(*args, **options)
        raise


def sqlstate(error: BaseException) -> str:
    """The five characters of an error of psycopg2; "" if there is no server or it gave no code."""
    return getattr(error, "pgcode", None) or getattr(error, "sqlstate", None) or ""


def _code_of_refusal(*args: Any, **options: Any) -> str:
    """The code with which the server refuses such a connection now; "" if it accepts it, or no code comes."""
    options.pop("connection_factory", None)
    try:
        with closing(psycopg2.connect(*args, **options, async_=True)) as connection:
            _say_codes()(ctypes.c_void_p(connection.pgconn_ptr), _CODES_ONLY)
            _wait(connection)
    except psycopg2.OperationalError as error:
        found = _CODE.search(str(error))
        return found[1] if found else ""
    except (AttributeError, OSError, psycopg2.Error):
        pass  # another libpq: then the text has to do
    return ""


def _wait(connection: Any) -> None:
    until = time.monotonic() + _SECONDS
    waiting = {extensions.POLL_READ: ([connection], []), extensions.POLL_WRITE: ([], [connection])}
    with suppress(KeyError):  # POLL_OK: let in after all
        while time.monotonic() < until:
            readers, writers = waiting[connection.poll()]
            select.select(readers, writers, [], 1.0)


@cache
def _say_codes() -> Any:
    """PQsetErrorVerbosity of the same libpq that psycopg2 has loaded."""
    return ctypes.CDLL(psycopg2._psycopg.__file__).PQsetErrorVerbosity

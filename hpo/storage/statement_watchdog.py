"""Cut a connection that does not answer, so that no thread waits for ever on a silent network.

TCP keepalives find a dead peer. They do not find a proxy or a frozen server that still acknowledges packets; and a
`statement_timeout` would be session state, which PgBouncer's transaction pooling does not keep. So one daemon thread
per process looks at the statements under way and shuts down the socket of an overdue one: libpq then reports a lost
connection, which the storage thread retries like any other.
"""

from __future__ import annotations

import contextlib
import os
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

from psycopg2.extensions import connection as _Connection
from psycopg2.extensions import cursor as _Cursor

__all__ = ["guarded"]


class _Watch:
    """Deadlines of the statements under way, keyed by connection."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.due: dict[int, tuple[float, _Connection]] = {}
        self.pid = 0

    @contextlib.contextmanager
    def over(self, connection: _Connection, seconds: float) -> Iterator[None]:
        with self.lock:
            self.due[id(connection)] = (time.monotonic() + seconds, connection)
            if self.pid != os.getpid():  # a fork leaves the thread behind
                self.pid = os.getpid()
                threading.Thread(target=self._run, name="hpo-database-watch", daemon=True).start()
        try:
            yield
        finally:
            with self.lock:
                self.due.pop(id(connection), None)

    def _run(self) -> None:
        while True:
            time.sleep(0.5)
            now = time.monotonic()
            with self.lock:
                for key, (due, connection) in list(self.due.items()):
                    if now > due:
                        del self.due[key]
                        _cut(connection)


def _cut(connection: _Connection) -> None:
    with contextlib.suppress(OSError, ValueError):
        duplicate = socket.socket(fileno=os.dup(connection.fileno()))
        with duplicate:
            duplicate.shutdown(socket.SHUT_RDWR)


_watch = _Watch()


def guarded(seconds: float) -> type[_Connection]:
    """A psycopg2 connection class: a statement or commit without an answer for `seconds` loses the connection."""

    class GuardedCursor(_Cursor):  # type: ignore[misc] # psycopg2 is untyped
        def execute(self, query: Any, vars: Any = None) -> None:
            with _watch.over(self.connection, seconds):
                super().execute(query, vars)

        def executemany(self, query: Any, vars_list: Any) -> None:
            with _watch.over(self.connection, seconds):
                super().executemany(query, vars_list)

    class GuardedConnection(_Connection):  # type: ignore[misc]
        def cursor(self, *args: Any, **kwargs: Any) -> Any:
            kwargs.setdefault("cursor_factory", GuardedCursor)
            return super().cursor(*args, **kwargs)

        def commit(self) -> None:
            with _watch.over(self, seconds):
                super().commit()

        def rollback(self) -> None:
            with _watch.over(self, seconds):
                super().rollback()

    return GuardedConnection

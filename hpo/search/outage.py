"""An outage of the database: since when, when to try again; and what other database errors mean for the user."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import TypeVar

from sqlalchemy.engine import Engine
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from hpo.errors import StorageError, StudyError
from hpo.search.events import DatabaseRecovered, DatabaseUnavailable
from hpo.storage.engine import is_outage, storage_error
from hpo.storage.queries import NoStudy

__all__ = ["Outage", "explained", "persistently"]

T = TypeVar("T")
OPENING_PAUSES = (0.5, 1.0, 2.0, 4.0)
"""Seconds between attempts to open a study: long enough for a server to restart, short enough for a wrong address."""


class Outage:
    """Written by one thread; others may read `since` and `seconds`. `since` is None while the database answers.

    longest_pause: between two attempts, in seconds; well below the grace that others give to our leases
    """

    def __init__(self, longest_pause: float, clock: Callable[[], float] = time.monotonic) -> None:
        self.since: float | None = None
        self._longest_pause = longest_pause
        self._clock = clock
        self._failures = 0

    @property
    def seconds(self) -> float:
        """How long the database has been away."""
        since = self.since
        return 0.0 if since is None else self._clock() - since

    def failed(self, error: Exception) -> DatabaseUnavailable | None:
        """Record a failed attempt. Returns an event for the loop when it is the first."""
        self._failures += 1
        if self.since is not None:
            return None
        self.since = self._clock()
        return DatabaseUnavailable(str(getattr(error, "orig", error)).strip().split("\n")[0])

    def worked(self) -> DatabaseRecovered | None:
        """Record an attempt that succeeded. Returns an event for the loop when that ends an outage."""
        self._failures = 0
        if self.since is None:
            return None
        event = DatabaseRecovered(self.seconds)
        self.since = None
        return event

    def pause(self) -> float:
        """Seconds to wait before the next attempt, with jitter: else all hosts would come back at the same instant."""
        return min(0.2 * 2.0 ** min(self._failures, 5), self._longest_pause) * random.uniform(0.5, 1.0)


def explained(error: Exception, engine: Engine, study: str) -> Exception:
    """An error that is not an outage, worded for the user; a bug stays as it is."""
    if isinstance(error, SQLAlchemyError):
        return storage_error(error, engine.url.render_as_string(hide_password=False))
    if isinstance(error, NoStudy):
        return StudyError(f'study "{study}" was deleted while it ran', next="`hpo run` starts it again")
    return error


def persistently(engine: Engine, action: Callable[[], T]) -> T:
    """Run `action`, which may be repeated, again when its connection breaks. Raises StorageError after the last try."""
    for pause in (*OPENING_PAUSES, None):
        try:
            return action()
        except (SQLAlchemyError, StorageError) as error:
            if pause is None or not _broke_off(error):
                raise storage_error(error, engine.url.render_as_string(hide_password=False)) from error
            time.sleep(pause)
    raise AssertionError("the last attempt returns or raises")


def _broke_off(error: Exception) -> bool:
    """Whether an open connection broke, or a server said it is starting. False where nothing answers at an address."""
    cause = error.__cause__ if isinstance(error, StorageError) else error
    answered = any(words in str(cause) for words in ("starting up", "shutting down", "closed the connection"))
    return isinstance(cause, DBAPIError) and is_outage(cause) and (cause.connection_invalidated or answered)

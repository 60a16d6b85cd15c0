"""The database is away: since when, how often it was tried, when to try again; and what its other errors mean."""

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
"""Seconds between attempts to open a study: a server that restarts is back by then, a wrong address soon said."""


class Outage:
    """One thread notes, another may read `since` and `seconds`. `since` is None while the database answers.

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
        """Another attempt failed; the event to tell when it is the first."""
        self._failures += 1
        if self.since is not None:
            return None
        self.since = self._clock()
        return DatabaseUnavailable(str(getattr(error, "orig", error)).strip().split("\n")[0])

    def worked(self) -> DatabaseRecovered | None:
        """An attempt went through; the event to tell when that ends an outage."""
        self._failures = 0
        if self.since is None:
            return None
        event = DatabaseRecovered(self.seconds)
        self.since = None
        return event

    def pause(self) -> float:
        """Seconds to wait before the next attempt, with jitter, or a fleet of hosts would come back in one instant."""
        return min(0.2 * 2.0 ** min(self._failures, 5), self._longest_pause) * random.uniform(0.5, 1.0)


def explained(error: Exception, engine: Engine, study: str) -> Exception:
    """An error that is no outage as the user should read it; a bug stays what it is."""
    if isinstance(error, SQLAlchemyError):
        return storage_error(error, engine.url.render_as_string(hide_password=False))
    if isinstance(error, NoStudy):
        return StudyError(f'study "{study}" was deleted while it ran', next="`hpo run` begins it anew")
    return error


def persistently(engine: Engine, action: Callable[[], T]) -> T:
    """Do what may be done again, a few times if a connection breaks over it. Raises StorageError in the end."""
    for pause in (*OPENING_PAUSES, None):
        try:
            return action()
        except (SQLAlchemyError, StorageError) as error:
            if pause is None or not _broke_off(error):
                raise storage_error(error, engine.url.render_as_string(hide_password=False)) from error
            time.sleep(pause)
    raise AssertionError("the last attempt returns or raises")


def _broke_off(error: Exception) -> bool:
    """A connection that was there, or a server that says it will be. An address where nothing answers is neither."""
    cause = error.__cause__ if isinstance(error, StorageError) else error
    answered = any(words in str(cause) for words in ("starting up", "shutting down", "closed the connection"))
    return isinstance(cause, DBAPIError) and is_outage(cause) and (cause.connection_invalidated or answered)

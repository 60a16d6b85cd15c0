"""An outage of the database: since when, when to try again; and what other database errors mean for the user."""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from sqlalchemy.engine import Engine
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from hpo.duration import format_duration
from hpo.errors import StorageError, StudyError
from hpo.search.events import DatabaseRecovered, DatabaseUnavailable
from hpo.storage.engine import is_outage, storage_error
from hpo.storage.failures import is_disk_full
from hpo.storage.queries import NoStudy
from hpo.storage.sqlstate import sqlstate

__all__ = ["Outage", "Patience", "explained", "persistently"]

T = TypeVar("T")
LONGEST_PAUSE = 2.0
"""Seconds between attempts to open a study."""
SAY_SECONDS = 60.0
_CLOSED = "closed the connection"  # libpq's word for a server that ended before it answered


class Outage:
    """Written by one thread; others may read all. `since` is None while the database answers.

    disk_full: whether its last error, or that of restarting it, was a full disk

    longest_pause: between two attempts, in seconds; well below the grace that other hosts give to our leases
    """

    def __init__(self, longest_pause: float, clock: Callable[[], float] = time.monotonic) -> None:
        self.since: float | None = None
        self.disk_full = False
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
        self.disk_full = is_disk_full(error)
        if self.since is not None:
            return None
        self.since = self._clock()
        reason = str(getattr(error, "orig", error)).strip().split("\n")[0]
        return DatabaseUnavailable(f"its disk is full ({reason})" if self.disk_full else reason)

    def worked(self) -> DatabaseRecovered | None:
        """Record an attempt that succeeded. Returns an event for the loop when that ends an outage."""
        self._failures, self.disk_full = 0, False
        if self.since is None:
            return None
        event = DatabaseRecovered(self.seconds)
        self.since = None
        return event

    def pause(self) -> float:
        """Seconds to wait before the next attempt, with jitter, so that not all hosts come back at the same instant."""
        return min(0.2 * 2.0 ** min(self._failures, 5), self._longest_pause) * random.uniform(0.5, 1.0)


def explained(error: Exception, engine: Engine, study: str) -> Exception:
    """An error that is not an outage, worded for the user; a bug stays as it is."""
    if isinstance(error, SQLAlchemyError):
        return storage_error(error, engine.url.render_as_string(hide_password=False))
    if isinstance(error, NoStudy):
        return StudyError(
            f'study "{study}" was deleted while it ran',
            evidence=["or renamed: optuna-dashboard copies its trials to a new study, and deletes this one"],
            next="`hpo run` starts it again",
        )
    return error


@dataclass(frozen=True)
class Patience:
    """How long an opening waits for its database, and who is told.

    seconds: as long as a run waits for it later (HPO_PATIENCE_SECONDS)
    revive:  restarts the embedded server if it was killed; None for any other server
    notice:  called with a sentence at the first failure, and every minute
    """

    seconds: float
    revive: Callable[[], object] | None
    notice: Callable[[str], None]


def persistently(engine: Engine, action: Callable[[], T], patience: Patience) -> T:
    """Run `action`, which may be repeated, until its database answers. Raises StorageError when that takes too long.

    A server that answers anything is worth waiting for, even if it only says that it recovers from a crash. An address
    where nothing answers may be wrong: that is an error at once, unless the server is the embedded one.
    """
    outage, known, said, said_at = Outage(LONGEST_PAUSE), patience.revive is not None, "", -math.inf
    while True:
        try:
            if outage.since is not None and patience.revive is not None:
                patience.revive()
            return action()
        except (SQLAlchemyError, StorageError) as error:
            cause = error.__cause__ if isinstance(error, StorageError) else error
            known = known or _has_answered(cause)
            event = outage.failed(cause) if isinstance(cause, Exception) else None
            if not (known and cause is not None and is_outage(cause)) or outage.seconds > patience.seconds:
                raise storage_error(error, engine.url.render_as_string(hide_password=False)) from error
            said = event.reason if event is not None else said
            if time.monotonic() - said_at >= SAY_SECONDS:
                said_at = time.monotonic()
                left = format_duration(max(1.0, patience.seconds - outage.seconds))
                patience.notice(f"waiting for the database ({said}), for {left} at most")
            time.sleep(outage.pause())


def _has_answered(error: BaseException | None) -> bool:
    """Whether an open connection broke, or a server refused one. False if nothing answers at the address."""
    if not isinstance(error, DBAPIError):
        return False
    driver = error.orig
    return error.connection_invalidated or (driver is not None and (bool(sqlstate(driver)) or _CLOSED in str(driver)))

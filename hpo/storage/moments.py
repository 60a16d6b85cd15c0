"""Moments of a database: what Python's datetime cannot hold, or not in every time zone, is as if it were not there.

PostgreSQL has 'infinity', 4713 BC and the year 294276, and whoever may write to a table may write them.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from psycopg2 import extensions

__all__ = ["decode_moments", "seconds_from"]

_TIMESTAMP, _TIMESTAMPTZ = 1114, 1184  # PostgreSQL's pg_type.dat
_FIRST, _LAST = 2, 9998
"""Years: between them there is a local time for every moment, whatever the zone."""


def decode_moments(connection: Any) -> None:
    """Have a connection of psycopg2 answer None for a moment that is outside the years of Python."""
    for oid, name, decode in (
        (_TIMESTAMP, "TIMESTAMP", extensions.PYDATETIME),
        (_TIMESTAMPTZ, "TIMESTAMPTZ", extensions.PYDATETIMETZ),
    ):
        extensions.register_type(extensions.new_type((oid,), name, _within(decode)), connection)


def seconds_from(earlier: str, later: str) -> str:
    """SQL: the seconds from one moment to another, NULL where one of them is infinite."""
    seconds = f"CAST(extract(epoch FROM {later}) - extract(epoch FROM {earlier}) AS double precision)"
    return f"CASE WHEN isfinite({earlier}) AND isfinite({later}) THEN {seconds} END"


def _within(decode: Any) -> Any:
    def moment(text: str | None, cursor: Any) -> datetime | None:
        try:
            found: datetime | None = decode(text, cursor)
        except (ValueError, OverflowError):  # no such year
            return None
        return found if found is None or _FIRST <= found.year <= _LAST else None

    return moment

"""A study stopped for everybody, and let go on: its deadline is now, until whoever stopped it takes that back.

Every coordinator reads the deadline with each renewal of its leases, and ends as it does when the time is up: its
trials are released with their checkpoints. A `hpo worker` that comes later leaves at once. A new `hpo run` sets a
budget of its own, which ends the stop.
"""

from __future__ import annotations

import json

from sqlalchemy import delete, insert, select
from sqlalchemy.engine import Connection

from hpo.decoding import Undecodable, decoded_mapping
from hpo.storage.optuna_schema import STUDY_USER_ATTRS, table
from hpo.storage.studies import budget, lock_budget, set_budget

__all__ = ["is_stopped", "resume_study", "stop_study"]

STOPPED = "hpo:stopped"
"""The user attribute of a study that keeps how much of its time was left; a user may have one called "stopped"."""


def stop_study(connection: Connection, study_id: int) -> bool:
    """End the study's time now, and keep how much was left. False where it is stopped already. NoStudy as `budget`."""
    lock_budget(connection, study_id)
    before = budget(connection, study_id)
    if is_stopped(connection, study_id):
        return False
    left = before.seconds_left if before.seconds_left is None or before.seconds_left > 0 else 0.0
    _forget(connection, study_id)
    row = {"study_id": study_id, "key": STOPPED, "value_json": json.dumps({"seconds_left": left})}
    connection.execute(insert(table(STUDY_USER_ATTRS)), row)
    set_budget(connection, study_id, 0.0, before.trials_target)
    return True


def resume_study(connection: Connection, study_id: int) -> bool:
    """Give the study the time that was left when it was stopped. False where it is not stopped."""
    lock_budget(connection, study_id)
    if not is_stopped(connection, study_id):
        return False
    set_budget(connection, study_id, _left(connection, study_id), budget(connection, study_id).trials_target)
    _forget(connection, study_id)
    return True


def is_stopped(connection: Connection, study_id: int) -> bool:
    """Whether somebody stopped the study, and no run has given it another budget since."""
    seconds = budget(connection, study_id).seconds_left
    return seconds is not None and seconds <= 0 and _kept(connection, study_id) is not None


def _kept(connection: Connection, study_id: int) -> str | None:
    attributes = table(STUDY_USER_ATTRS)
    query = select(attributes.c.value_json).where(attributes.c.study_id == study_id, attributes.c.key == STOPPED)
    kept: str | None = connection.execute(query).scalar()
    return kept


def _left(connection: Connection, study_id: int) -> float | None:
    """None, no limit, also where somebody wrote something else there."""
    try:
        seconds = decoded_mapping(_kept(connection, study_id) or "{}").get("seconds_left")
    except Undecodable:
        return None
    if not isinstance(seconds, (int, float)) or isinstance(seconds, bool) or not 0 <= seconds < 1e9:
        return None
    return float(seconds)


def _forget(connection: Connection, study_id: int) -> None:
    attributes = table(STUDY_USER_ATTRS)
    connection.execute(delete(attributes).where(attributes.c.study_id == study_id, attributes.c.key == STOPPED))

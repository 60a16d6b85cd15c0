"""Which studies of a database are hpo's."""

from __future__ import annotations

from sqlalchemy import text
from sqlalchemy.engine import Connection

__all__ = ["is_ours"]


def is_ours(connection: Connection, study_id: int) -> bool:
    """Whether hpo made the study, rather than plain Optuna. Any database, any number."""
    if connection.dialect.name != "postgresql" or not 0 <= study_id < 2**31:
        return False
    if connection.execute(text("SELECT to_regclass('hpo_studies')")).scalar() is None:
        return False
    query = text("SELECT 1 FROM hpo_studies WHERE study_id = :study")
    return connection.execute(query, {"study": study_id}).scalar() is not None

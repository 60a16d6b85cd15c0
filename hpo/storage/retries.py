"""Failed trials put back into the queue, under their numbers and with their parameters."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection, text

from hpo.storage.optuna_schema import FAIL, INTERMEDIATE, SYSTEM_ATTRS, TRIALS, USER_ATTRS, VALUES, WAITING
from hpo.storage.trial_record import TrialRecord

__all__ = ["forget_training", "put_back"]

_KEPT = ("origin", "earlier_failure")
_FORGOTTEN = sorted(TrialRecord.__annotations__.keys() - set(_KEPT))
_STATEMENTS = (
    f"DELETE FROM {INTERMEDIATE} WHERE trial_id = ANY(CAST(:ids AS int[]))",
    f"DELETE FROM {VALUES} WHERE trial_id = ANY(CAST(:ids AS int[]))",
    # Successive halving would take the rungs that the trial reached for those of the new attempt.
    f"DELETE FROM {SYSTEM_ATTRS} WHERE trial_id = ANY(CAST(:ids AS int[])) AND key ^@ 'completed_rung_'",
    "DELETE FROM hpo_epochs WHERE trial_id = ANY(CAST(:ids AS int[]))",
    f"DELETE FROM {USER_ATTRS} a WHERE trial_id = ANY(CAST(:ids AS int[])) AND key = 'earlier_failure' AND EXISTS"
    f" (SELECT 1 FROM {USER_ATTRS} b WHERE b.trial_id = a.trial_id AND b.key = 'failure')",
    f"UPDATE {USER_ATTRS} SET key = 'earlier_failure' WHERE trial_id = ANY(CAST(:ids AS int[])) AND key = 'failure'",
    f"DELETE FROM {USER_ATTRS} WHERE trial_id = ANY(CAST(:ids AS int[])) AND key = ANY(CAST(:keys AS text[]))",
    "UPDATE hpo_leases SET worker_id = NULL, expires_at = NULL, attempt = 1, trainer_deaths = 0, checkpoint = NULL"
    " WHERE trial_id = ANY(CAST(:ids AS int[]))",
)


def put_back(connection: Connection, trial_ids: Sequence[int]) -> None:
    """Set the FAIL trials among `trial_ids` to WAITING, as if they had never been trained; their failure is kept as
    `earlier_failure`. Only while no coordinator works on the study: in its memory a failed trial stays failed."""
    locked = f"SELECT trial_id FROM {TRIALS} WHERE trial_id = ANY(CAST(:ids AS int[])) AND state = '{FAIL}' FOR UPDATE"
    found = connection.execute(text(locked), {"ids": list(trial_ids)}).scalars()
    bound = {"ids": list(found)}
    forget_training(connection, bound["ids"])
    connection.execute(
        text(
            f"UPDATE {TRIALS} SET state = '{WAITING}', datetime_start = NULL, datetime_complete = NULL"
            " WHERE trial_id = ANY(CAST(:ids AS int[]))"
        ),
        bound,
    )


def forget_training(connection: Connection, trial_ids: Sequence[int]) -> None:
    """Remove what training left of these trials: they keep number, parameters, and why they failed before."""
    bound = {"ids": list(trial_ids), "keys": _FORGOTTEN}
    for statement in _STATEMENTS:
        connection.execute(text(statement), bound)

"""The end of a study whose trials wait in turn: one that will not go on is PRUNED, as in any Optuna study."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import suppress

from optuna.trial import FrozenTrial, TrialState
from sqlalchemy.engine import Engine

from hpo.storage import queries
from hpo.storage.optuna_internals import trial_id_of
from hpo.study.study import Study

__all__ = ["end_waiting"]


def end_waiting(
    engine: Engine,
    study: Study,
    waiting: Sequence[FrozenTrial],
    claimed: Callable[..., list[queries.Claim]],
    worker_id: str,
) -> list[int]:
    """End these trials, in one transaction; the numbers of those ended. One that another host takes is left alone.

    claimed: leases trials to `worker_id`: (connection, trial_ids=...). As in Optuna, a pruned trial's value is the last
    one reported.
    """
    trials = {trial_id_of(trial): trial for trial in waiting}
    with engine.begin() as connection:
        ended = [trials[claim.trial_id] for claim in claimed(connection, trial_ids=list(trials))]
        queries.save(connection, _ends(study, ended), worker_id)
    return [trial.number for trial in ended]


def _ends(study: Study, ended: Sequence[FrozenTrial]) -> queries.WriteBatch:
    writes = queries.WriteBatch()
    for trial in ended:
        trial_id, reports = trial_id_of(trial), trial.intermediate_values
        writes.set_user_attr(trial_id, "epochs", len(reports))
        with suppress(KeyError):  # of a trial that somebody else left without a parameter
            writes.set_user_attr(trial_id, "config", study.resolve(study.rows.configuration(trial.params)))
        last = reports[max(reports)]
        # Optuna's tables hold no NaN as a trial's value.
        values = None if math.isnan(last) else (last,)
        writes.finish(queries.TrialResult(trial_id, TrialState.PRUNED, values))
    return writes

"""A database with a past: so many finished trials with their curves, as a search would have left them."""

from __future__ import annotations

import random
from pathlib import Path

from optuna.trial import TrialState

from benchmarks import simulated
from hpo.sampling.distributions import distribution
from hpo.search.identity import own_identity
from hpo.search.open_study import OpenOptions, open_study
from hpo.storage import queries
from hpo.storage.engine import open_engine
from hpo.storage.queries import TrialResult, WriteBatch
from hpo.study.discovery import FoundStudy
from hpo.study.parameters import Categorical, Float, Int, Parameter, Scalar

__all__ = ["draw", "fill"]

BATCH = 500


def fill(url: str, finished: int, home: Path) -> None:
    """Open the simulated study in an empty database and give it `finished` trials, every third pruned at epoch 3."""
    engine = open_engine(url, statement_seconds=300.0)
    identity = own_identity()
    found = FoundStudy(simulated.study, Path(simulated.__file__), ("",))
    study_id = open_study(engine, found, OpenOptions(), identity.worker_id, identity, {"uid": "benchmark"}).study_id
    with engine.begin() as connection:
        left = queries.claim(connection, study_id, "past", "here", 3600.0, 1, new=False)
    while left or finished > 0:
        with engine.begin() as connection:
            if not left:
                left = queries.claim(connection, study_id, "past", "here", 3600.0, min(BATCH, finished))
            writes = WriteBatch()
            for claim in left:
                _trial(writes, claim.trial_id, claim.number)
            assert not queries.save(connection, writes, "past").lost
            finished -= len(left)
            left = []
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.exec_driver_sql("VACUUM ANALYZE")
    engine.dispose()


def _trial(writes: WriteBatch, trial_id: int, number: int) -> None:
    rng = random.Random(number)
    params: dict[str, tuple[Scalar, Parameter]] = {}

    def suggest(name: str, row: Parameter) -> Scalar:
        params[name] = (draw(rng, row), row)
        return params[name][0]

    config = simulated.study.rows.sample(suggest)
    for name, (value, row) in params.items():
        kind = distribution(row)
        writes.set_param(trial_id, name, kind.to_internal_repr(value), kind)
    last = 3 if number % 3 == 0 else simulated.EPOCHS
    for epoch in range(1, last + 1):
        writes.report(trial_id, epoch, simulated.value(config, epoch, number))
    state = TrialState.PRUNED if number % 3 == 0 else TrialState.COMPLETE
    writes.finish(TrialResult(trial_id, state, (simulated.value(config, last, number),)))


def draw(rng: random.Random, row: Parameter) -> Scalar:
    """A value of `row`, each as likely as the other."""
    if isinstance(row, Categorical):
        return rng.choice(row.choices)
    assert isinstance(row, (Int, Float))
    share = rng.random()
    value = row.low * (row.high / row.low) ** share if row.log else row.low + (row.high - row.low) * share
    return round(value) if isinstance(row, Int) else value

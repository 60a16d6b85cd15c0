"""What stands in a new study's queue: the baseline, again where seeds are to be compared, and what is known already."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from optuna.trial import TrialState
from sqlalchemy import Engine

from hpo import Converged, Float, Study
from hpo.errors import StudyError
from hpo.search.ask_tell import AskTell
from hpo.search.identity import own_identity
from hpo.search.open_study import OpenOptions, OpenStudy, open_study
from hpo.storage import queries
from hpo.storage.trial_record import record_of
from hpo.study.discovery import FoundStudy

BASELINE = {"lr": 0.01}


def opened(engine: Engine, worker: str, **changes: Any) -> tuple[Study, OpenStudy]:
    fields: dict[str, Any] = {"dataset": "digits", "model": "shallow", "baseline": BASELINE, "epochs": 3}
    rows = {"batch_size": 64, "hidden_units": 16, "lr": Float(1e-4, 1e-1, log=True)}
    study = Study(**(fields | {"space": rows} | changes))
    found = FoundStudy(study, Path(__file__))
    return study, open_study(engine, found, OpenOptions(), worker, own_identity(), {}, live_seconds=30)


def queued(of: OpenStudy) -> dict[str, Any]:
    trials = of.cache.get_all_trials(of.study_id)
    return {str(record_of(trial).get("origin")): trial.system_attrs["fixed_params"]["lr"] for trial in trials}


def train(engine: Engine, study: Study, of: OpenStudy, worker: str, count: int) -> None:
    """Trials whose value is their learning rate."""
    asker = AskTell(study, of.study_id, of.cache, Path("checkpoints"), "host", workers=1)
    for _ in range(count):
        with engine.begin() as connection:
            (claim,) = asker.claim(connection, worker, 30.0, 1)
            asker.synchronise(connection, [claim.trial_id])
        trial = asker.sample(claim)
        asker.tell(trial.trial_id, TrialState.COMPLETE, [trial.params["lr"]], {}, {})
        with engine.begin() as connection:
            queries.save(connection, of.cache.take_writes(), worker)


def test_a_new_study_begins_with_the_baseline_its_repetitions_and_the_best_of_earlier_ones(engine: Engine) -> None:
    with pytest.raises(StudyError) as unknown:
        opened(engine, "w", name="later", warm_start="earlier")
    assert "is no study in this database" in unknown.value.fact
    earlier, first = opened(engine, "w", name="earlier")
    with pytest.raises(StudyError) as empty:
        opened(engine, "v", name="later", warm_start="earlier")
    assert "has nothing to tell" in empty.value.fact
    train(engine, earlier, first, "w", 4)
    best = sorted(first.cache.get_all_trials(first.study_id), key=lambda trial: -trial.values[0])
    _, later = opened(engine, "v", name="later", warm_start=["earlier"], stop=Converged(repeats=3))
    assert queued(later) == {
        "baseline": 0.01,
        "repeat 1": 0.01,
        "repeat 2": 0.01,
        f"earlier trial {best[0].number}": best[0].params["lr"],
    }
    with engine.connect() as connection:
        assert queries.find_study(connection, "later") is not None
    _, again = opened(engine, "u", name="later", warm_start="gone", stop=Converged(repeats=3))
    assert queued(again) == queued(later), "it has begun already"

"""Asking: what hpo proposes and prunes is what Optuna itself would, on the same history."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.trial import TrialState
from sqlalchemy import Engine

from hpo import (
    GP,
    QMC,
    TPE,
    Categorical,
    CmaEs,
    Float,
    FreezeThaw,
    Int,
    MedianPruner,
    NoPruner,
    Random,
    Study,
    SuccessiveHalving,
)
from hpo.sampling.distributions import suggest
from hpo.search.ask_tell import AskTell
from hpo.search.paused import PausedCheckpoints
from hpo.search.planning import Planner
from hpo.seeds import sampler_seed
from hpo.storage import queries
from hpo.storage.study_cache import StudyCache
from hpo.trainers.trial import Trial

WORKER = "host:1:a"


def make_study(**changes: Any) -> Study:
    fields: dict[str, Any] = {
        "name": "asked",
        "dataset": "digits",
        "model": "shallow",
        "space": {
            "batch_size": Int(3, 100),
            "hidden_units": Int(8, 64),
            "optimizer": Categorical("adam", "sgd"),
            "momentum": Float(0.0, 0.9).when(optimizer="sgd"),
            "lr": Float(1e-5, 1e-1, log=True),
        },
        "baseline": {"batch_size": 64, "hidden_units": 32, "optimizer": "adam", "lr": 1e-3},
        "epochs": 9,
    }
    return Study(**(fields | changes))


def open_asker(engine: Engine, study: Study) -> AskTell:
    directions = tuple(optuna.study.StudyDirection[direction.upper()] for direction in study.directions)
    with engine.begin() as connection:
        study_id = queries.create_study(connection, study.name, directions)
        queries.register(
            connection, study_id, fingerprint="f", declaration={}, source="s", seed=study.seed, facts={"uid": "u"}
        )
    cache = StudyCache(study_id, study.name, directions)
    return AskTell(study, study_id, cache, Path("checkpoints"), "host", workers=1)


def ask(engine: Engine, ask_tell: AskTell) -> Trial:
    with engine.begin() as connection:
        (claim,) = ask_tell.claim(connection, WORKER, 30.0, 1)
        ask_tell.synchronise(connection, [claim.trial_id])
    return ask_tell.sample(claim)


def flush(engine: Engine, ask_tell: AskTell) -> None:
    with engine.begin() as connection:
        assert not queries.save(connection, ask_tell.cache.take_writes(), WORKER).lost


def score(params: dict[str, Any], epoch: int) -> float:
    return float(-((params["lr"] - 0.01) ** 2) * 100 - 0.01 * params["hidden_units"] + 0.1 * epoch)


@pytest.mark.parametrize("sampler", [TPE(startup_trials=5), Random(), CmaEs(), QMC()], ids=str)
def test_proposals_and_prunings_are_those_of_stock_optuna_on_the_same_history(engine: Engine, sampler: Any) -> None:
    study = make_study(sampler=sampler, pruner=MedianPruner(startup_trials=3, warmup_epochs=1))
    ask_tell = open_asker(engine, study)
    stock = optuna.create_study(
        study_name=study.name, direction="maximize", pruner=study.pruner.build(study.epochs, workers=1)
    )
    pruned = 0
    for number in range(25):
        ours = ask(engine, ask_tell)
        stock.sampler = sampler.build(study.rows, sampler_seed(study.seed, number))
        theirs = stock.ask()
        study.rows.sample(lambda name, row, theirs=theirs: suggest(theirs, name, row))  # type: ignore[misc]
        assert ours.params == theirs.params, f"trial {number}"
        state = TrialState.COMPLETE
        for epoch in range(1, study.epochs + 1):
            value = score(ours.params, epoch)
            ask_tell.cache.set_trial_intermediate_value(ours.trial_id, epoch, value)
            ours.reported([(epoch, value)])
            theirs.report(value, epoch)
            assert ask_tell.should_prune(ours) == theirs.should_prune()
            if theirs.should_prune():
                state = TrialState.PRUNED
                break
        pruned += state is TrialState.PRUNED
        ask_tell.tell(ours.trial_id, state, [value], {}, {})
        stock.tell(theirs, value if state is TrialState.COMPLETE else None, state=state)
        flush(engine, ask_tell)
    assert pruned >= 3


def test_a_trial_claimed_again_keeps_its_parameters(engine: Engine) -> None:
    ask_tell = open_asker(engine, make_study())
    first = ask(engine, ask_tell)
    flush(engine, ask_tell)
    ask_tell.cache.requeue(queries.Requeue(first.trial_id, 1))
    flush(engine, ask_tell)
    again = ask(engine, ask_tell)
    assert (again.number, again.params, again.config, again.attempt) == (0, first.params, first.config, 2)


def test_what_another_host_finished_is_seen_before_the_next_proposal(engine: Engine) -> None:
    study = make_study()
    here, there = open_asker(engine, study), open_asker(engine, study)
    other = ask(engine, there)
    there.tell(other.trial_id, TrialState.COMPLETE, [0.9], {}, {})
    flush(engine, there)
    ask(engine, here)
    assert [(trial.number, trial.values) for trial in here.trials() if trial.state.is_finished()] == [(0, [0.9])]


def test_several_objectives_are_pruned_on_the_first(engine: Engine) -> None:
    study = make_study(objective=("val_accuracy", "parameters"), pruner=SuccessiveHalving(min_epochs=1))
    ask_tell = open_asker(engine, study)
    verdicts = []
    for value in (0.9, 0.8, 0.7, 0.6, 0.5):
        trial = ask(engine, ask_tell)
        ask_tell.cache.set_trial_intermediate_value(trial.trial_id, 1, value)
        trial.reported([(1, value)])
        verdicts.append(ask_tell.should_prune(trial))
    assert verdicts == [False, True, True, True, True]


def test_a_gaussian_process_proposes_where_one_trial_alone_has_a_constraint(engine: Engine) -> None:
    """Optuna's raises an error there, which ended the run; anybody may give a trial a constraint."""
    asker = open_asker(engine, make_study(sampler=GP(startup_trials=3), pruner=NoPruner()))
    for number in range(8):
        trial = ask(engine, asker)
        constraints = {"mine": 1.0} if number == 1 else {}
        asker.tell(trial.trial_id, TrialState.COMPLETE, [0.1 * number], {}, constraints)
    proposed = asker.trials()[-1].system_attrs
    assert any("relative_params" in key for key in proposed), "by the process, not at random"


def test_reports_of_plain_optuna_are_looked_for_now_and_then_where_plans_are_made_from_curves(
    engine: Engine, database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing notes them, and reading every open trial at each decision cost 135 ms with a thousand."""
    study = make_study(search=FreezeThaw())
    asker = open_asker(engine, study)
    kept = PausedCheckpoints(tmp_path, 1e9)
    planner = Planner(study, asker.study_id, asker.cache, kept, "host", 30.0)
    asker = AskTell(study, asker.study_id, asker.cache, tmp_path, "host", workers=1, planner=planner)
    theirs = optuna.load_study(study_name=study.name, storage=database_url).ask()

    def known() -> dict[int, float]:
        with engine.begin() as connection:
            asker.synchronise(connection)
        return {trial.number: trial for trial in asker.trials()}[theirs.number].intermediate_values

    assert known() == {}
    theirs.report(0.5, 1)
    assert known() == {}, "it has just looked"
    monkeypatch.setattr("hpo.search.planning.LOOK_SECONDS", 0.0)
    assert known() == {1: 0.5}

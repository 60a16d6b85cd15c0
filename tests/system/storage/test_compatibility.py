"""After a search by hpo, Optuna's tools read everything: the dashboard, the command line, load_study, importance."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any
from wsgiref.util import setup_testing_defaults

import optuna
import pytest
from optuna.trial import TrialState
from sqlalchemy import Engine

from hpo import TPE, Categorical, Float, Int, MedianPruner, Study
from hpo.search.ask_tell import AskTell
from hpo.storage import queries
from hpo.storage.queries import EpochRow
from hpo.storage.study_cache import StudyCache

WORKER = "host:1:a"
STUDY = Study(
    name="compatible",
    dataset="digits",
    model="shallow",
    space={
        "batch_size": Int(3, 100),
        "hidden_units": Int(8, 64),
        "optimizer": Categorical("adam", "sgd"),
        "momentum": Float(0.0, 0.9).when(optimizer="sgd"),
        "lr": Float(1e-5, 1e-1, log=True),
    },
    baseline={"batch_size": 64, "hidden_units": 32, "optimizer": "adam", "lr": 1e-3},
    epochs=5,
    sampler=TPE(startup_trials=5),
    pruner=MedianPruner(startup_trials=3),
)


@pytest.fixture
def searched(engine: Engine) -> str:
    """The URL of a database after 40 trials: complete, pruned, failed, infeasible, one running, one waiting."""
    direction = optuna.study.StudyDirection.MAXIMIZE
    with engine.begin() as connection:
        study_id = queries.create_study(connection, STUDY.name, (direction,))
        queries.register(
            connection, study_id, fingerprint=STUDY.fingerprint(), declaration=STUDY.declaration(),
            source="", seed=0, facts={"uid": "u"},
        )  # fmt: skip
    ask_tell = AskTell(STUDY, study_id, StudyCache(study_id, STUDY.name, (direction,)), Path("checkpoints"), "host", 1)
    for number in range(42):
        with engine.begin() as connection:
            (claim,) = ask_tell.claim(connection, WORKER, 30.0, 1)
            ask_tell.synchronise(connection, [claim.trial_id])
        trial = ask_tell.sample(claim)
        if number == 40:
            ask_tell.cache.requeue(queries.Requeue(trial.trial_id, 0, trial.checkpoint))
        elif number < 40:
            _train(ask_tell, trial)
        writes = ask_tell.cache.take_writes()
        writes.epoch(EpochRow(trial.trial_id, 1, val_accuracy=0.5))
        with engine.begin() as connection:
            assert not queries.save(connection, writes, WORKER).lost
        if number == 40:
            with engine.begin() as connection:  # else the next claim takes it up again
                connection.exec_driver_sql(f"UPDATE trials SET state = 'PRUNED' WHERE trial_id = {trial.trial_id}")
    with engine.begin() as connection:
        connection.exec_driver_sql("UPDATE trials SET state = 'WAITING' WHERE number = 40")
    return engine.url.set(drivername="postgresql+psycopg2").render_as_string(hide_password=False)


def _train(ask_tell: AskTell, trial: Any) -> None:
    rng = random.Random(trial.number)
    state = TrialState.FAIL if trial.number == 7 else TrialState.COMPLETE
    value = 0.0
    for epoch in range(1, STUDY.epochs + 1):
        value = 0.9 - 0.01 * abs(trial.params["hidden_units"] - 40) - 0.5 * trial.params["lr"] + 0.01 * epoch
        value += rng.gauss(0, 0.01)
        ask_tell.cache.set_trial_intermediate_value(trial.trial_id, epoch, value)
        trial.reported([(epoch, value)])
        if ask_tell.should_prune(trial):
            state = TrialState.PRUNED
            break
    constraints = {"memory": 1.0} if trial.number == 11 else {}
    values = None if state == TrialState.FAIL else [value]
    ask_tell.tell(trial.trial_id, state, values, {"config": trial.config}, constraints)


def test_load_study_reads_every_state_with_values_curves_and_attributes(searched: str) -> None:
    trials = optuna.load_study(study_name=STUDY.name, storage=searched).get_trials()
    counts = Counter(trial.state.name for trial in trials)
    assert counts["FAIL"] == counts["RUNNING"] == counts["WAITING"] == 1
    assert counts["PRUNED"] >= 3
    assert counts["COMPLETE"] >= 10
    assert [trial.number for trial in trials] == list(range(42))
    complete = next(trial for trial in trials if trial.state == TrialState.COMPLETE)
    assert complete.value == complete.intermediate_values[5]
    assert complete.user_attrs["config"]["hidden_units"] == complete.params["hidden_units"]
    assert trials[11].constraints == {"memory": 1.0}


def test_stock_optuna_goes_on_with_the_study(searched: str) -> None:
    sampler = optuna.samplers.TPESampler(seed=1)
    study = optuna.load_study(study_name=STUDY.name, storage=searched, sampler=sampler)
    trial = study.ask()  # the waiting one first, as Optuna does
    assert trial.number == 40
    study.tell(trial, 0.5)
    trial = study.ask()
    trial.suggest_float("lr", 1e-5, 1e-1, log=True)
    study.tell(trial, 0.5)
    assert trial.number == 42


def test_optunas_importance_is_the_same_here_as_on_a_copy_in_memory(searched: str) -> None:
    ours = optuna.load_study(study_name=STUDY.name, storage=searched)
    copy = optuna.create_study(direction="maximize")
    copy.add_trials(ours.get_trials())
    for evaluator in (optuna.importance.PedAnovaImportanceEvaluator, optuna.importance.FanovaImportanceEvaluator):
        options = {"seed": 1} if evaluator is optuna.importance.FanovaImportanceEvaluator else {}
        numbers = optuna.importance.get_param_importances(ours, evaluator=evaluator(**options))
        assert numbers == optuna.importance.get_param_importances(copy, evaluator=evaluator(**options))
        assert numbers


@pytest.mark.parametrize("command", ["trials", "best-trial", "studies"])
def test_optunas_command_line_reads_the_study(searched: str, command: str) -> None:
    which = [] if command == "studies" else ["--study-name", STUDY.name]
    done = subprocess.run(
        [sys.executable, "-c", "from optuna.cli import main; raise SystemExit(main())", command,
         *which, "--storage", searched, "-f", "json"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    found = json.loads(done.stdout)
    stock = optuna.load_study(study_name=STUDY.name, storage=searched)
    if command == "trials":
        assert [row["number"] for row in found] == list(range(42))
    elif command == "best-trial":
        assert found["number"] == stock.best_trial.number
    else:
        assert [row["name"] for row in found] == [STUDY.name]


def test_the_dashboard_lists_the_study_and_its_trials(searched: str) -> None:
    import optuna_dashboard

    app = optuna_dashboard.wsgi(searched)
    (summary,) = _get(app, "/api/studies")["study_summaries"]
    assert summary["study_name"] == STUDY.name
    detail = _get(app, f"/api/studies/{summary['study_id']}")
    assert len(detail["trials"]) == 42
    assert {trial["state"] for trial in detail["trials"]} == {"Complete", "Pruned", "Fail", "Running", "Waiting"}


def _get(app: Any, path: str) -> Any:
    environ: dict[str, Any] = {"PATH_INFO": path}
    setup_testing_defaults(environ)
    status: list[str] = []
    body = b"".join(app(environ, lambda line, headers, *rest: status.append(line)))
    assert status[0].startswith("200")
    return json.loads(body)

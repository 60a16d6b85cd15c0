"""hpo.run end to end: real trainers, a real PostgreSQL, scikit-learn's digits."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import optuna
import pytest

import hpo
from hpo import EarlyStopping, Float, Grid, Int, NoPruner, Study
from hpo.doctor.stale_trials import examine_trials
from hpo.errors import DataError, DeclarationChanged, RepeatedFailure, StudyError
from hpo.result import Result
from hpo.storage.engine import open_engine


def quick(**changes: Any) -> Study:
    """A study whose trials take a fraction of a second."""
    fields: dict[str, Any] = {
        "name": "quick",
        "dataset": "digits",
        "model": "shallow",
        "space": {"batch_size": Int(32, 64), "hidden_units": Int(8, 32), "lr": Float(1e-3, 1e-1, log=True)},
        "baseline": {"batch_size": 64, "hidden_units": 16, "lr": 1e-2},
        "epochs": 3,
        "pruner": NoPruner(),
    }
    return Study(**(fields | changes))


@pytest.fixture
def run(database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """hpo.run against this test's database and home."""
    monkeypatch.setenv("HPO_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("HPO_STORAGE", database_url)

    def call(study: Any, **options: Any) -> Result:
        return hpo.run(study, **({"trainers": 2} | options))

    return call


def trials_of(url: str, name: str = "quick") -> list[optuna.trial.FrozenTrial]:
    """As stock Optuna reads them."""
    return optuna.load_study(study_name=name, storage=url.replace("postgresql://", "postgresql+psycopg2://")).trials


def check_table(result: Result, trials: int) -> None:
    """The result is a table, one row a trial."""
    frame = result.trials
    assert list(frame["state"]) == ["complete"] * trials
    assert frame["value"].between(0, 1).all()
    assert {"number", "seconds", "batch_size", "hidden_units", "lr"} <= set(frame.columns)


def test_a_run_gives_exactly_the_trials_asked_for_and_the_same_command_adds_none(run: Any, database_url: str) -> None:
    result = run(quick(), trials=7)
    assert result.stopped == "trials"
    assert result.exit_code == 0
    assert [trial.state.name for trial in trials_of(database_url)] == ["COMPLETE"] * 7
    check_table(result, trials=7)
    assert run(quick(), trials=7).counts["complete"] == 7
    assert len(trials_of(database_url)) == 7


def test_the_baseline_is_trial_0_and_every_trial_records_what_it_ran_with(run: Any, database_url: str) -> None:
    run(quick(), trials=2)
    first = trials_of(database_url)[0]
    assert first.params == dict(quick().baseline)
    attributes = first.user_attrs
    assert attributes["config"]["optimizer"] == "adam"
    assert attributes["metrics"]["val_accuracy"] == first.value
    recorded = {"seed", "git_commit", "versions", "device", "device_name", "data_checksum", "train_seconds",
                "setup_seconds", "eval_seconds", "peak_memory_bytes", "parameters", "host", "worker"}  # fmt: skip
    assert recorded <= set(attributes)
    assert sorted(first.intermediate_values) == [1, 2, 3]


def test_a_deadline_in_mid_trial_puts_the_trial_back_and_the_next_run_goes_on_with_it(
    run: Any, database_url: str
) -> None:
    space = {"batch_size": 4, "hidden_units": 512, "lr": Float(1e-3, 1e-1, log=True)}
    long = quick(space=space, baseline={"lr": 1e-2}, epochs=50_000)  # minutes a trial, on any machine
    seen: list[float] = []

    def notice_training(snapshot: Any) -> None:
        if any(slot.epoch >= 2 for slot in snapshot.slots):
            seen.append(time.monotonic())

    for seconds in (20, 40, 80):  # how long trainers need to start is the machine's: a slow one gets another run
        began = time.monotonic()
        result = run(long, timeout=f"{seconds}s", on_snapshot=notice_training)
        assert result.stopped == "deadline"
        if seen:
            assert time.monotonic() - began < seconds + 5
            break
    assert seen, "no trial got to its second epoch"
    states = Counter(trial.state.name for trial in trials_of(database_url))
    assert states["RUNNING"] == 0
    assert states["WAITING"] >= 1
    waiting = [
        trial for trial in trials_of(database_url) if trial.state.name == "WAITING" and trial.intermediate_values
    ]
    assert waiting
    reached = max(waiting[0].intermediate_values)
    interrupted: list[int] = []

    def interrupt_once_further(snapshot: Any) -> None:
        further = any(slot.trial == waiting[0].number and slot.epoch > reached for slot in snapshot.slots)
        if further and not interrupted:
            interrupted.append(1)
            signal.raise_signal(signal.SIGINT)

    again = run(long, timeout="10m", on_snapshot=interrupt_once_further)
    assert (again.stopped, again.exit_code) == ("interrupted", 130)
    resumed = trials_of(database_url)[waiting[0].number]
    assert resumed.params == waiting[0].params
    assert max(resumed.intermediate_values) > reached
    assert all(resumed.intermediate_values[step] == value for step, value in waiting[0].intermediate_values.items())


def test_two_workers_beside_a_run_give_exactly_the_trials_asked_for(
    run: Any, database_url: str, tmp_path: Path
) -> None:
    path = tmp_path / "shared_study.py"
    path.write_text(
        "from hpo import Float, Int, NoPruner, Study\n"
        "study = Study(name='shared', dataset='digits', model='shallow', epochs=2, pruner=NoPruner(),\n"
        "    space={'batch_size': 64, 'hidden_units': Int(8, 32), 'lr': Float(1e-3, 1e-1, log=True)},\n"
        "    baseline={'hidden_units': 16, 'lr': 1e-2})\n"
    )
    run(str(path), trials=1)
    code = "import hpo, sys; print(hpo.run(sys.argv[1], worker=True, trainers=1).stopped)"

    def join(_snapshot: Any) -> None:
        if not workers:
            workers.extend(
                subprocess.Popen([sys.executable, "-c", code, str(path)], stdout=subprocess.PIPE, text=True)
                for _ in range(2)
            )

    workers: list[subprocess.Popen[str]] = []
    result = run(str(path), trials=30, trainers=1, on_snapshot=join)
    assert result.stopped == "trials"
    assert [worker.communicate(timeout=60)[0].strip() for worker in workers] == ["trials", "trials"]
    trials = trials_of(database_url, "shared")
    assert Counter(trial.state.name for trial in trials) == {"COMPLETE": 30}
    assert [trial.number for trial in trials] == list(range(30))
    assert len({trial.user_attrs["worker"] for trial in trials}) >= 2


def test_a_run_beside_a_trial_that_plain_optuna_never_tells_says_so_and_ends_when_it_is_told(
    run: Any, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Said again and again, with what would end it; `hpo doctor --fix` does."""
    monkeypatch.setattr("hpo.search.waiting.FIRST_SECONDS", 0.3)
    monkeypatch.setattr("hpo.search.waiting.AGAIN_SECONDS", 0.3)
    run(quick(), trials=1)
    optuna.load_study(study_name="quick", storage=database_url).ask()
    said: list[str] = []

    def mend(notice: str) -> None:
        if "plain Optuna" in notice:
            said.append(notice)
            if len(said) == 2:
                engine = open_engine(database_url)
                list(examine_trials(engine, fix=True))
                engine.dispose()

    assert run(quick(), trials=3, timeout="40s", on_notice=mend).stopped == "trials"
    assert said[0].startswith("waiting for 1 trial that plain Optuna began and did not finish (1);")
    assert "`hpo doctor --fix` puts it into the queue" in said[0]
    assert {trial.state.name for trial in trials_of(database_url)} <= {"COMPLETE", "PRUNED"}
    assert len(trials_of(database_url)) == 3


def test_a_grid_is_walked_once_and_then_the_run_ends(run: Any, database_url: str) -> None:
    grid = quick(
        sampler=Grid(),
        space={"batch_size": hpo.Categorical(32, 64), "hidden_units": hpo.Categorical(8, 16), "lr": 1e-2},
        baseline={"batch_size": 64, "hidden_units": 16},
        epochs=1,
    )
    assert run(grid).stopped == "exhausted"
    points = [tuple(trial.params.values()) for trial in trials_of(database_url)]
    assert sorted(points) == [(32, 8), (32, 16), (64, 8), (64, 16)]


def test_brute_force_tries_every_combination_of_an_objective_once_and_then_the_run_ends(
    run: Any, database_url: str, tmp_path: Path
) -> None:
    file = tmp_path / "branches.py"
    file.write_text(
        "def objective(trial):\n"
        "    layers = trial.suggest_int('layers', 1, 2)\n"
        "    width = trial.suggest_categorical('width', (8, 16)) if layers == 2 else 4\n"
        "    return layers * width\n"
    )
    result = run(f"{file}:objective", direction="minimize", sampler="bruteforce", pruner="none", timeout="2m")
    assert result.stopped == "exhausted"
    points = sorted(tuple(trial.params.values()) for trial in trials_of(database_url, "branches"))
    assert points == [(1,), (2, 8), (2, 16)]


def test_a_search_goes_by_a_sampler_and_a_pruner_of_the_users_own(run: Any, database_url: str, tmp_path: Path) -> None:
    file = tmp_path / "my_search.py"
    file.write_text(
        "import optuna\n"
        "class Halves(optuna.samplers.RandomSampler):\n"
        "    def sample_independent(self, study, trial, name, distribution):\n"
        "        value = super().sample_independent(study, trial, name, distribution)\n"
        "        return 9 if name == 'hidden_units' else value\n"
        "sampler = Halves(seed=1)\n"
        "def pruner():\n"
        "    return optuna.pruners.ThresholdPruner(lower=2.0, n_warmup_steps=2)\n"
    )
    run(quick(sampler=f"{file}:sampler", pruner=f"{file}:pruner"), trials=3)
    trials = trials_of(database_url)
    assert [trial.params["hidden_units"] for trial in trials] == [16, 9, 9], "the baseline, and then its own"
    assert [(trial.state.name, trial.last_step) for trial in trials] == [("PRUNED", 2)] * 3


def test_known_configurations_are_enqueued_only_on_request(run: Any, database_url: str) -> None:
    study = quick(known=[{"batch_size": 32, "hidden_units": 31, "lr": 0.05}])
    run(study, trials=2)
    assert all(trial.params["hidden_units"] != 31 for trial in trials_of(database_url)[:1])
    run(study, trials=3, enqueue_known=True)
    assert trials_of(database_url)[2].params == {"batch_size": 32, "hidden_units": 31, "lr": 0.05}


def test_a_changed_declaration_is_refused_and_nothing_is_written(run: Any, database_url: str) -> None:
    run(quick(), trials=1)
    with pytest.raises(DeclarationChanged, match="hidden_units"):
        run(quick(space={**quick().rows.rows, "hidden_units": Int(8, 33)}), trials=5)
    assert len(trials_of(database_url)) == 1


def test_a_copy_that_a_dashboard_made_of_a_study_is_refused_as_one(run: Any, database_url: str) -> None:
    """How optuna-dashboard renames: another study with the same trials, then the first is deleted."""
    run(quick(), trials=1)
    first = optuna.load_study(study_name="quick", storage=database_url)
    optuna.create_study(study_name="renamed", storage=database_url, direction="maximize").add_trials(first.trials)
    optuna.delete_study(study_name="quick", storage=database_url)
    with pytest.raises(StudyError, match="that hpo did not make") as refused:
        run(quick(), name="renamed", trials=2)
    assert "a dashboard renames a study by copying it" in str(refused.value)
    assert len(trials_of(database_url, "renamed")) == 1


def test_a_worker_may_not_start_a_study(run: Any, database_url: str) -> None:
    with pytest.raises(StudyError, match="start it with `hpo run`"):
        run(quick(), worker=True)


def test_a_loss_that_is_not_finite_is_pruned_with_a_constraint_so_that_the_sampler_learns(
    run: Any, database_url: str
) -> None:
    wild = quick(
        space={"batch_size": 64, "hidden_units": 8, "optimizer": "sgd", "lr": Float(1e9, 1e12, log=True)},
        baseline={"lr": 1e12},
    )
    run(wild, trials=2)
    trials = trials_of(database_url)
    assert {trial.state.name for trial in trials} == {"PRUNED"}
    assert trials[0].constraints == {"finite": 1.0}
    assert trials[0].user_attrs["failure"]["kind"] == "diverged"


BROKEN_NET = """
import torch

class Net(torch.nn.Linear):
    def forward(self, images):
        if torch.is_grad_enabled():
            raise ZeroDivisionError("my bug")
        return super().forward(images.flatten(1))

def build(shape, classes):
    return Net(64, classes)
"""
"""Looks well when it is inspected, and is not."""

BROKEN = """
from hpo import Float, Study
from hpo.models import Model
study = Study(name="broken", dataset="digits", model=Model("broken_net:build"),
    space={"batch_size": 64, "lr": Float(0.01, 0.1)}, baseline={"lr": 0.05})
"""


def test_the_same_bug_five_times_in_a_row_ends_the_run_with_that_error(
    run: Any, database_url: str, tmp_path: Path
) -> None:
    (tmp_path / "broken_net.py").write_text(BROKEN_NET)
    path = tmp_path / "broken.py"
    path.write_text(BROKEN)
    with pytest.raises(RepeatedFailure, match="ZeroDivisionError: my bug") as caught:
        run(str(path), trials=50)
    assert caught.value.exit_code == 70
    trials = trials_of(database_url, "broken")
    failed = [trial for trial in trials if trial.state.name == "FAIL"]
    assert len(failed) >= 5
    assert not [trial for trial in trials if trial.state.name == "RUNNING"]
    assert failed[0].user_attrs["failure"]["reason"] == "ZeroDivisionError: my bug"
    assert failed[0].user_attrs["failure"]["where"] == f"{tmp_path / 'broken_net.py'}:7"
    assert any("broken_net.py" in line for line in failed[0].user_attrs["failure"]["traceback"])


def test_missing_data_is_refused_before_there_is_a_study(
    run: Any, database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HPO_DATA_DIR", str(tmp_path / "nothing here"))
    study = quick(
        dataset="mnist",
        early_stopping=EarlyStopping(patience=1),
        baseline={"batch_size": 64, "hidden_units": 16, "lr": 0.01},
    )
    with pytest.raises(DataError, match="mlp_digits") as caught:
        run(study, trials=2)
    assert caught.value.exit_code == 5
    assert not optuna.get_all_study_names(database_url.replace("postgresql://", "postgresql+psycopg2://"))

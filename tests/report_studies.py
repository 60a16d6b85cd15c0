"""Studies as plain Optuna leaves them: functions that fill a study, and fixtures for both storeys.

In memory for speed, in SQLite where reading a database is the point.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import optuna
import pytest
from optuna.trial import FrozenTrial, TrialState, create_trial

from hpo.report import ReportData, build_report
from hpo.results.reading import StudyView, open_for_reading, read_study
from hpo.settings import Settings

Fill = Callable[[optuna.Study], None]


def searched(study: optuna.Study, trials: int = 30) -> None:
    """An ordinary search: log and conditional and per-layer parameters, pruned and failed trials, epochs."""
    study.sampler = optuna.samplers.RandomSampler(seed=0)

    def objective(trial: optuna.Trial) -> float:
        lr = trial.suggest_float("lr", 1e-5, 1e-1, log=True)
        for layer in range(trial.suggest_int("layers", 1, 3)):
            trial.suggest_int(f"width_{layer}", 8, 512, log=True)
        if trial.suggest_categorical("optimizer", ["adam", "sgd"]) == "sgd":
            trial.suggest_float("momentum", 0.0, 0.99)
        trial.set_user_attr("parameters", 1000 + 10 * trial.number)
        if trial.number % 10 == 7:
            trial.set_user_attr(
                "failure", {"kind": "failed", "reason": "shape mismatch", "traceback": ["in forward", "ValueError: 3"]}
            )
            raise ValueError("3")
        for epoch in range(1, 6):
            trial.report(lr**0.1 * epoch / 5, epoch)
            if trial.number % 3 == 1 and epoch == 2:
                raise optuna.TrialPruned
        return float(lr**0.1)

    study.optimize(objective, n_trials=trials, catch=(ValueError,))


def told(state: str, value: float | None = None, steps: int = 0, **params: float) -> FrozenTrial:
    """A finished trial with float parameters from 0 to 1 and `steps` reports."""
    return create_trial(
        state=TrialState[state],
        value=value,
        params=params,
        distributions={name: optuna.distributions.FloatDistribution(0.0, 1.0) for name in params},
        intermediate_values={step: 0.1 * step for step in range(1, steps + 1)},
    )


@pytest.fixture(autouse=True)
def quiet_optuna() -> Iterator[None]:
    """What these scripts make Optuna say is no concern of a report."""
    level = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    yield
    optuna.logging.set_verbosity(level)


@pytest.fixture
def stored(tmp_path: Path, settings: Settings) -> Callable[..., tuple[str, StudyView]]:
    """`stored(fill, name=..., directions=...)` makes a study in SQLite and gives (url, what is read of it)."""

    def make(fill: Fill, name: str = "plain", directions: tuple[str, ...] = ("maximize",)) -> tuple[str, StudyView]:
        url = f"sqlite:///{tmp_path / 'study.db'}"
        _fill(optuna.create_study(storage=url, study_name=name, directions=list(directions)), fill)
        engine = open_for_reading(url, settings)
        view = read_study(engine, name, history=True)
        engine.dispose()
        return url, view

    return make


@pytest.fixture
def report_of() -> Callable[..., ReportData]:
    """The report of a study that `fill` made."""

    def make(fill: Fill, name: str = "plain", directions: tuple[str, ...] = ("maximize",), top: int = 10) -> ReportData:
        study = optuna.create_study(study_name=name, directions=list(directions))
        _fill(study, fill)
        names = study.metric_names or (
            ["value"] if len(directions) == 1 else [f"value {i}" for i in range(len(directions))]
        )
        return build_report(StudyView(name, directions, tuple(study.trials), objectives=tuple(names)), top=top)

    return make


def _fill(study: optuna.Study, fill: Fill) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        fill(study)

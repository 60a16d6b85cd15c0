"""Studies as plain Optuna leaves them: in memory for speed, in SQLite where reading a database is the point."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import optuna
import pytest
from report_studies import Fill

from hpo.report import ReportData, build_report
from hpo.results.reading import StudyView, open_for_reading, read_study
from hpo.settings import Settings


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

"""Read a study: ours on PostgreSQL, or one that plain Optuna made in any database it knows. Nothing is written."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import optuna
import sqlalchemy
from optuna.trial import FrozenTrial
from sqlalchemy.engine import Connection, Engine, make_url

from hpo.errors import HpoError, StorageError, StudyError, near_miss
from hpo.printable import one_line
from hpo.results.best import best_trial
from hpo.results.counting import counts_of
from hpo.results.evaluation import EvaluationDocument, as_document
from hpo.settings import Settings
from hpo.storage import optuna_internals, optuna_schema, queries, tables
from hpo.storage.database_url import database_file
from hpo.storage.engine import hide_password, open_engine, resolve_url, storage_error
from hpo.storage.evaluations import read_evaluation
from hpo.storage.journal import replay
from hpo.storage.optuna_schema import DIRECTION_WORDS, METRIC_NAMES, REVISION_TABLE, STUDIES, TRIALS
from hpo.storage.schema import check_readable, knows_installed_optuna
from hpo.study.discovery import find_study, names_code
from hpo.study.doors import stored_training

__all__ = [
    "StudyView",
    "find_trial",
    "open_for_reading",
    "place_of",
    "read_study",
    "stored_declaration",
    "stored_name",
    "study_names",
]


@dataclass(frozen=True)
class StudyView:
    """A study as it stood when it was read. A study of plain Optuna has no declaration, deadline or workers.

    directions:  "maximize" or "minimize", one for each objective
    objectives:  the name of each objective: the metric, what `set_metric_names` gave, or "value"
    epochs:      rows of hpo_epochs, where history was asked for: `trial`, `epoch`, `val_accuracy` and so on; `metrics`
                 holds those of the user's own by name
    metrics:     by number of the trial, the last value of each metric of the user's own, where these were asked for
    stopped:     whether somebody stopped it, in a dashboard, and no run has gone on since
    evaluation:  what the last `hpo evaluate` found; None where that is not as docs/evaluation.md says
    declaration: row name -> text, as hpo.study.study.Study.declaration gave it
    workers:     every coordinator that ever worked on it, oldest first
    uid:         what tells it from others of its name; its folder of checkpoints ends in it
    """

    name: str
    directions: tuple[str, ...]
    trials: tuple[FrozenTrial, ...]
    declaration: Mapping[str, Any] | None = None
    deadline: datetime | None = None
    seconds_left: float | None = None
    stopped: bool = False
    trials_target: int | None = None
    workers: tuple[queries.WorkerRow, ...] = ()
    objectives: tuple[str, ...] = ()
    epochs: tuple[Mapping[str, Any], ...] = ()
    metrics: Mapping[int, Mapping[str, float]] = field(default_factory=dict)
    evaluation: EvaluationDocument | None = None
    uid: str = ""

    @property
    def trained_here(self) -> bool:
        """Whether its trials are trained from declared rows, as `hpo evaluate` can then do again: not plain Optuna's,
        no objective that suggests as it goes, and no command."""
        return self.declaration is not None and not stored_training(self.declaration)

    @property
    def best(self) -> FrozenTrial | None:
        return best_trial(self.trials, self.directions)

    @property
    def counts(self) -> dict[str, int]:
        """Trials by state, with the keys complete, pruned, failed, running and waiting: hpo.results.counting."""
        return counts_of(self.trials, self.workers)


def open_for_reading(storage: str | None, settings: Settings) -> Engine:
    """The database that `--storage`, HPO_STORAGE or the embedded server names, unchanged by being read.

    One thing is written first: what a journal under `settings.home` still owes this database (hpo.storage.journal).
    Raises StorageError where nothing answers, where the tables are missing, of another Optuna or not those of this hpo,
    StudyError where no embedded database was ever made.
    """
    if storage is None and not settings.has_database:
        raise StudyError(
            f"no study has run here yet: {settings.home} holds no database",
            next="start one with `hpo run --study mlp_digits`, or say where it is with --storage or HPO_STORAGE",
        )
    url = resolve_url(settings, storage, write=False)
    _check_file(url)
    engine = open_engine(url, application_name="hpo read")
    with _storage_errors(engine), engine.connect() as connection:
        _check_tables(connection)
    if engine.dialect.name == "postgresql" and knows_installed_optuna():
        _replay(engine, settings.home)
    return engine


def _replay(engine: Engine, home: Path) -> None:
    try:
        for sentence in replay(engine, home):
            logging.getLogger("hpo").warning(one_line(sentence))
    except sqlalchemy.exc.SQLAlchemyError:
        pass  # a user who may only read, or an outage: the journal waits for `hpo run`


def study_names(engine: Engine) -> list[str]:
    """The studies in the database, by name."""
    with _storage_errors(engine), engine.connect() as connection:
        return sorted(study.name for study in queries.list_studies(connection))


def stored_name(engine: Engine, reference: str) -> str:
    """The name in the database. What stands there wins; else a declaration found under `reference` says its name."""
    if reference in study_names(engine):
        return reference
    try:
        return find_study(reference).study.name
    except HpoError:
        if names_code(reference):
            raise
        return reference  # then the database's own list of names is the better message


def read_study(engine: Engine, name: str, *, history: bool = False, metrics: bool = False) -> StudyView:
    """Everything about one study, as of one moment. StudyError names the nearest study, and those there are.

    history: also every epoch of every trial, for a large study most of what there is to read
    metrics: also the last value of each metric that the user's own code reported
    """
    with _storage_errors(engine), _one_moment(engine) as connection:
        found = queries.find_study(connection, name)
        if found is None:
            raise _unknown(name, [study.name for study in queries.list_studies(connection)], engine)
        view = StudyView(
            name=name,
            directions=tuple(DIRECTION_WORDS[direction] for direction in found.directions),
            trials=_of_one_number_each(queries.read_changes(connection, found.study_id)),
            objectives=_metric_names(connection, found.study_id, len(found.directions)),
        )
        if not sqlalchemy.inspect(connection).has_table(tables.studies.name):
            return view
        view = _with_our_record(connection, found.study_id, view, history)
        return replace(view, metrics=queries.read_metrics(connection, found.study_id)) if metrics else view


def _of_one_number_each(trials: list[FrozenTrial]) -> tuple[FrozenTrial, ...]:
    """By number, as Optuna gives them; where somebody wrote one number twice, the later trial of it."""
    return tuple(sorted({trial.number: trial for trial in trials}.values(), key=lambda trial: trial.number))


def find_trial(name: str, trials: Sequence[FrozenTrial], number: int) -> FrozenTrial:
    """Trial `number` of the study `name`. StudyError says which there are."""
    found = next((trial for trial in trials if trial.number == number), None)
    if found is None:
        there = f"it has trials 0 to {trials[-1].number}" if trials else "it has no trial yet"
        raise StudyError(f'study "{name}" has no trial {number}', evidence=[there])
    return found


def stored_declaration(engine: Engine, name: str) -> tuple[Mapping[str, Any] | None, int]:
    """(what the study was started with, its finished trials); None where there is no such study, or it is not ours."""
    with _storage_errors(engine), _one_moment(engine) as connection:
        found = queries.find_study(connection, name)
        if found is None or not sqlalchemy.inspect(connection).has_table(tables.studies.name):
            return None, 0
        record, counts = queries.declaration(connection, found.study_id), queries.counts(connection, found.study_id)
    return record.declaration if record else None, sum(
        number for state, number in counts.items() if state.is_finished()
    )


def _metric_names(connection: Connection, study_id: int, objectives: int) -> tuple[str, ...]:
    """What `Study.set_metric_names` recorded, else names to tell the objectives apart."""
    names = queries.study_attrs(connection, study_id)[1].get(METRIC_NAMES)
    if isinstance(names, list) and len(names) == objectives:
        return tuple(str(name) for name in names)
    return ("value",) if objectives == 1 else tuple(f"value {index}" for index in range(objectives))


def _with_our_record(connection: Connection, study_id: int, view: StudyView, history: bool) -> StudyView:
    record = queries.declaration(connection, study_id)
    if record is None:
        return view
    # "maximize val_accuracy, minimize latency_ms", as Study.declaration writes it
    declared = str(record.declaration.get("(objective)", "")).split(", ")
    return replace(
        view,
        objectives=tuple(text.split(" ", 1)[-1] for text in declared if text) or view.objectives,
        epochs=tuple(queries.read_epochs(connection, study_id)) if history else (),
        evaluation=as_document(read_evaluation(connection, study_id)),
        declaration=record.declaration,
        deadline=record.deadline,
        seconds_left=queries.budget(connection, study_id).seconds_left,
        stopped=queries.is_stopped(connection, study_id),
        trials_target=record.trials_target,
        workers=tuple(queries.list_workers(connection, study_id)),
        uid=record.uid,
    )


@contextmanager
def _one_moment(engine: Engine) -> Iterator[Connection]:
    """A connection whose statements all see the same rows, where the database can do that (PostgreSQL)."""
    with engine.connect() as connection:
        if engine.dialect.name == "postgresql":
            connection = connection.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
        yield connection


def _check_file(url: str) -> None:
    """SQLite would make an empty database of a misspelt path."""
    parsed = make_url(url)
    if parsed.get_backend_name() != "sqlite":
        return
    file = database_file(parsed)
    if file is None or not file.is_file():
        raise StorageError(
            f"no such file: {file or '(no path)'}",
            next="a relative path has three slashes (sqlite:///study.db), an absolute one four",
        )


def _check_tables(connection: Connection) -> None:
    place = place_of(connection.engine)
    present = sqlalchemy.inspect(connection)
    if not all(present.has_table(name) for name in (STUDIES, TRIALS, REVISION_TABLE)):
        raise StorageError(
            f"{place} holds no studies",
            evidence=["it has none of Optuna's tables"],
            next="check the URL; `hpo run` and `hpo db init` make the tables",
        )
    revision = connection.execute(sqlalchemy.text(f"SELECT max(version_num) FROM {REVISION_TABLE}")).scalar()
    if revision not in (*optuna_schema.REVISIONS, optuna_internals.head_revision()):
        raise StorageError(
            f"{place} has the tables of another Optuna: schema {revision}",
            evidence=[f"the installed Optuna {optuna.__version__} works with {optuna_internals.head_revision()}"],
            next="run `optuna storage upgrade --storage URL` (after a backup), or install the Optuna that made it",
        )
    if connection.dialect.name == "postgresql":
        check_readable(connection)


def _unknown(name: str, names: list[str], engine: Engine) -> StudyError:
    place = place_of(engine)
    evidence = [near_miss(name, names)] if names else []
    if evidence and evidence[0].startswith("did"):
        evidence.append(f"there are: {', '.join(sorted(names))}")
    return StudyError(
        f'no study "{name}" in {place}' if names else f"no study has run in {place} yet",
        evidence=evidence,
        next="`hpo run --study NAME` starts one; --storage or HPO_STORAGE names another database",
    )


def place_of(engine: Engine) -> str:
    """The database as a person would name it: the embedded server by its folder, any other by its URL."""
    folder = engine.url.query.get("host")
    if isinstance(folder, str) and folder.startswith("/"):
        return f"the database in {folder}"
    return f"the database {hide_password(engine.url.render_as_string(hide_password=False))}"


@contextmanager
def _storage_errors(engine: Engine) -> Iterator[None]:
    try:
        yield
    except sqlalchemy.exc.SQLAlchemyError as error:
        raise storage_error(error, engine.url.render_as_string(hide_password=False)) from error

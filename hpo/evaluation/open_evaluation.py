"""Opening a study for evaluation: its declaration, found again in the code, and its rows in the database."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy.engine import Engine

from hpo.errors import StudyError
from hpo.results.reading import StudyView, open_for_reading, read_study, stored_name
from hpo.settings import Settings
from hpo.storage import queries
from hpo.storage.engine import resolve_url
from hpo.storage.schema import ensure_schema
from hpo.study.declaration import check_same_declaration
from hpo.study.discovery import FoundStudy, as_stored, find_again
from hpo.study.doors import check_stored_training

__all__ = ["OpenedEvaluation", "open_evaluation"]


@dataclass(frozen=True)
class OpenedEvaluation:
    """A stored study with the declaration that started it. `uid` tells studies of the same name apart."""

    engine: Engine
    found: FoundStudy
    view: StudyView
    study_id: int
    uid: str


def open_evaluation(reference: str, name: str | None, storage: str | None, settings: Settings) -> OpenedEvaluation:
    """The study that `reference` names, either in the database or as a declaration that has the stored name.

    Raises StudyError for a study that is unknown, has no declaration of ours or cannot be found again in the code,
    DeclarationChanged when the code now declares something else.
    """
    engine = open_for_reading(storage, settings)
    if engine.dialect.name != "postgresql":
        resolve_url(settings, storage)  # raises where results could not be written, and says why
    ensure_schema(engine)
    there = name or stored_name(engine, reference)
    view = read_study(engine, there)
    with engine.connect() as connection:
        row = queries.find_study(connection, there)
        assert row is not None
        stored = queries.declaration(connection, row.study_id)
    if stored is None:
        raise StudyError(
            f'"{there}" was not made by hpo, so there is no declaration to train it from',
            next="`hpo report` reads any Optuna study; `hpo evaluate` needs one of `hpo run`",
        )
    check_stored_training("evaluate", stored.declaration, there)
    found = find_again(reference, there, stored.source)
    if not found.study.has_final:
        found.study.check_trained_here("evaluate")
    found = as_stored(found, there, stored.declaration)
    check_same_declaration(found.study, stored.declaration, len(view.trials))
    return OpenedEvaluation(engine, found, view, row.study_id, stored.uid)

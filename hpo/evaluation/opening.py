"""Opening a study for evaluation: its declaration, found again, and its rows in the database."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy.engine import Engine

from hpo.discovery import FoundStudy, find_study
from hpo.errors import StudyError
from hpo.reading import StudyView, open_for_reading, read_study, study_names
from hpo.settings import Settings
from hpo.storage import rows
from hpo.storage.engine import resolve_url
from hpo.storage.schema import ensure_schema
from hpo.study import check_same_declaration

__all__ = ["OpenedEvaluation", "open_evaluation"]


@dataclass(frozen=True)
class OpenedEvaluation:
    """A stored study with the declaration it was started with. `uid` tells studies of one name apart."""

    engine: Engine
    found: FoundStudy
    view: StudyView
    study_id: int
    uid: str


def open_evaluation(reference: str, name: str | None, storage: str | None, settings: Settings) -> OpenedEvaluation:
    """The study that `reference` names: as stored, or as a declaration that says under which name it is stored.

    Raises StudyError for one that is unknown, has no declaration of ours or cannot be found again in the code,
    DeclarationChanged when the code declares something else by now.
    """
    engine = open_for_reading(storage, settings)
    if engine.dialect.name != "postgresql":
        resolve_url(settings, storage)  # says why: results have to be written
    ensure_schema(engine)
    stored_name = name or (reference if reference in study_names(engine) else _declared_name(reference))
    view = read_study(engine, stored_name)
    with engine.connect() as connection:
        row = rows.find_study(connection, stored_name)
        assert row is not None
        stored = rows.declaration(connection, row.study_id)
    if stored is None:
        raise StudyError(
            f'"{stored_name}" was not made by hpo, so there is nothing to train it by',
            next="`hpo report` reads any Optuna study; `hpo evaluate` needs one of `hpo run`",
        )
    found = _as_stored(_find(reference, stored.source), stored_name, stored.declaration)
    check_same_declaration(found.study, stored.declaration, len(view.trials))
    return OpenedEvaluation(engine, found, view, row.study_id, str(stored.facts["uid"]))


def _declared_name(reference: str) -> str:
    try:
        return find_study(reference).study.name
    except StudyError:
        if "/" in reference or ":" in reference or reference.endswith(".py"):
            raise
        return reference  # then the database's own list of names is the better message


def _find(reference: str, source: str) -> FoundStudy:
    """The declaration under `reference`, else in the file that the search was started from."""
    try:
        return find_study(reference)
    except StudyError:
        if not source.endswith(".py"):
            raise
        return find_study(source)


def _as_stored(found: FoundStudy, name: str, declaration: Mapping[str, Any]) -> FoundStudy:
    """What `hpo run --name --subset` changed is in the database, so it need not be said again."""
    subset = declaration.get("(subset)")
    return replace(found, study=replace(found.study, name=name, subset=int(subset) if subset else None))

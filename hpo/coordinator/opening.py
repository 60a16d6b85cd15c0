"""Opening a study for work: schema, declaration, queue, budget and worker, each in place before the first trial."""

from __future__ import annotations

import platform
import subprocess
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from optuna.study import StudyDirection
from sqlalchemy.engine import Connection, Engine

from hpo.coordinator.identity import Identity
from hpo.coordinator.leases import Reaper
from hpo.discovery import FoundStudy
from hpo.errors import StudyError, near_miss
from hpo.search import Grid
from hpo.storage import rows
from hpo.storage.mirror import Mirror
from hpo.storage.schema import ensure_schema
from hpo.study import Study, check_same_declaration

__all__ = ["OpenedStudy", "Opening", "code_facts", "open_study"]


@dataclass(frozen=True)
class Opening:
    """How a study is to be opened.

    create:         make it if it is new (`hpo run`); False refuses an unknown one (`hpo worker`)
    set_budget:     replace the study's deadline and trials target by the two fields below
    enqueue_known:  also enqueue what the study lists as known
    """

    create: bool = True
    set_budget: bool = True
    timeout_seconds: float | None = None
    trials_target: int | None = None
    enqueue_known: bool = False


@dataclass(frozen=True)
class OpenedStudy:
    """uid tells studies of one name in different databases apart, for checkpoints in one folder."""

    study_id: int
    uid: str
    mirror: Mirror
    resumed: bool
    freed: int


def open_study(
    engine: Engine, found: FoundStudy, opening: Opening, worker_id: str, identity: Identity, facts: Mapping[str, Any]
) -> OpenedStudy:
    """Everything a coordinator needs in the database, in one transaction after the schema step.

    Raises DeclarationChanged (nothing written) when the study exists with another table, StudyError when it is unknown
    and may not be created, or was made by something other than hpo.
    """
    ensure_schema(engine)
    study = found.study
    directions = tuple(StudyDirection[direction.upper()] for direction in study.directions)
    with engine.begin() as connection:
        row = rows.find_study(connection, study.name)
        if row is None and not opening.create:
            raise _unknown(study.name, [other.name for other in rows.list_studies(connection)])
        study_id = row.study_id if row else rows.create_study(connection, study.name, directions)
        stored = rows.declaration(connection, study_id)
        if row is not None and stored is None:
            raise StudyError(
                f'the database has a study "{study.name}" that hpo did not make',
                next="give yours another name (--name); `hpo report` reads the other one as it is",
            )
        if stored is None:
            stored = _register(connection, found, study_id, facts)
            _fill_queue(connection, study, study_id)
        else:
            counts = rows.counts(connection, study_id)
            finished = sum(number for state, number in counts.items() if state.is_finished())
            check_same_declaration(study, stored.declaration, finished)
        if opening.enqueue_known:
            _enqueue(connection, study_id, study, list(study.known), "known")
        if opening.set_budget:
            rows.set_budget(connection, study_id, opening.timeout_seconds, opening.trials_target)
        freed = Reaper(study_id, identity, 0.0).free_the_dead(connection)
        rows.register_worker(
            connection,
            worker_id,
            study_id,
            host=identity.host,
            identity=identity.as_json(),
            slots=[],
            commit=facts.get("git_commit"),
        )
        mirror = Mirror(study_id, study.name, directions, *rows.study_attrs(connection, study_id))
        mirror.apply(rows.read_changes(connection, study_id))
    return OpenedStudy(study_id, str(stored.facts["uid"]), mirror, resumed=row is not None, freed=freed)


def code_facts() -> dict[str, Any]:
    """What trials record of the code they ran: git commit of the working folder and package versions."""
    packages = {"python": platform.python_version()}
    for name in ("hpo", "optuna", "torch", "torchvision"):
        try:
            packages[name] = version(name)
        except PackageNotFoundError:
            packages[name] = "not installed"
    return {"git_commit": _git_commit(Path.cwd()), "packages": packages}


def _register(connection: Connection, found: FoundStudy, study_id: int, facts: Mapping[str, Any]) -> rows.Declared:
    study = found.study
    return rows.register(
        connection,
        study_id,
        fingerprint=study.fingerprint(),
        declaration=study.declaration(),
        source=str(found.source),
        seed=study.seed,
        facts={**facts, "uid": uuid.uuid4().hex[:12]},
    )


def _fill_queue(connection: Connection, study: Study, study_id: int) -> None:
    """The baseline is trial 0, so every report can say "better than"; a grid follows it whole."""
    _enqueue(connection, study_id, study, [study.baseline], "baseline")
    if isinstance(study.sampler, Grid):
        points: list[tuple[dict[str, Any], dict[str, Any]]] = [
            (point, {}) for point in study.sampler.points(study.rows, study.seed)
        ]
        rows.enqueue(connection, study_id, points)


def _enqueue(
    connection: Connection, study_id: int, study: Study, configs: list[Mapping[str, Any]], origin: str
) -> None:
    entries = [
        (
            study.rows.parameters(config, what=origin, complete=False),
            {"origin": origin if index == 0 else f"{origin} {index}"},
        )
        for index, config in enumerate(configs)
    ]
    rows.enqueue(connection, study_id, entries)


def _unknown(name: str, known: list[str]) -> StudyError:
    return StudyError(
        f'the database has no study "{name}"',
        evidence=[near_miss(name, known)] if known else ["it has no study at all"],
        next="start it with `hpo run`, then workers can join",
    )


def _git_commit(folder: Path) -> str | None:
    """The commit of `folder`, with `+` when files differ from it; None outside a repository."""
    try:
        done = subprocess.run(
            ["git", "describe", "--always", "--abbrev=40", "--dirty=+", "--exclude=*"],
            cwd=folder, capture_output=True, text=True, timeout=5, check=False,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() or None

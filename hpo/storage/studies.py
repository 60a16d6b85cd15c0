"""Studies: Optuna's rows for them, and our record of the declaration and the budget."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from optuna.study import StudyDirection
from optuna.trial import TrialState
from sqlalchemy import Connection, func, insert, select, text

from hpo.decoding import Undecodable, decoded, decoded_mapping
from hpo.errors import StorageError
from hpo.names import is_file_name
from hpo.storage import tables
from hpo.storage.moments import seconds_from
from hpo.storage.optuna_schema import (
    DIRECTIONS,
    METRIC_NAMES,
    STUDIES,
    STUDY_SYSTEM_ATTRS,
    STUDY_USER_ATTRS,
    TRIALS,
    USER_ATTRS,
    is_numbered,
    metadata,
    table,
)

__all__ = [
    "Budget",
    "RegisteredStudy",
    "StudyRow",
    "budget",
    "counts",
    "create_study",
    "declaration",
    "delete_study",
    "find_study",
    "holds_our_trials",
    "list_studies",
    "lock_budget",
    "register",
    "set_budget",
    "study_attrs",
]


@dataclass(frozen=True)
class StudyRow:
    study_id: int
    name: str
    directions: tuple[StudyDirection, ...]


@dataclass(frozen=True)
class RegisteredStudy:
    """Our record of a study. `declaration` and `facts` are what was registered, decoded."""

    study_id: int
    fingerprint: str
    declaration: Mapping[str, Any]
    source: str
    seed: int
    facts: Mapping[str, Any]
    deadline: datetime | None
    trials_target: int | None
    created_at: datetime

    @property
    def uid(self) -> str:
        """Distinguishes studies of one name, also in paths. Raises StorageError if it may not be part of a path."""
        uid = self.facts.get("uid")
        if not is_file_name(uid):
            raise _altered(self.study_id, "facts", f"its uid is {str(uid)[:60]!r}")
        return str(uid)


@dataclass(frozen=True)
class Budget:
    """seconds_left may be negative; None without a deadline. `counts` has every state of Optuna. fingerprint: of the
    study's table, which may change while nobody is at work (`hpo run --evolve`)."""

    seconds_left: float | None
    trials_target: int | None
    counts: dict[TrialState, int]
    deadline: datetime | None = None
    fingerprint: str = ""

    @property
    def finished(self) -> int:
        return sum(number for state, number in self.counts.items() if state.is_finished())

    @property
    def used_up(self) -> bool:
        """The time is over, or every trial is done."""
        out_of_time = self.seconds_left is not None and self.seconds_left <= 0
        return out_of_time or (self.trials_target is not None and self.finished >= self.trials_target)


def find_study(connection: Connection, name: str) -> StudyRow | None:
    """The study of this name. One statement; also on SQLite."""
    found = _studies(connection, name)
    return found[0] if found else None


def list_studies(connection: Connection) -> list[StudyRow]:
    """Every study of the database, plain Optuna's included."""
    return _studies(connection, None)


def create_study(
    connection: Connection,
    name: str,
    directions: tuple[StudyDirection, ...],
    metrics: Sequence[str] = (),
    description: str = "",
) -> int:
    """The id of the study of this name, created as `optuna.create_study` does if there is none yet.

    metrics: what the values are called, as `Study.set_metric_names` records it: for dashboards, and whoever reads it
    description: kept as the user attribute of this name, which a dashboard shows
    """
    # A racing creator waits here for the other's commit.
    values = "(study_name) VALUES (:name) ON CONFLICT (study_name) DO NOTHING RETURNING study_id"
    made = connection.execute(text(f"INSERT INTO {STUDIES} {values}"), {"name": name}).scalar()
    if made is None:
        found = find_study(connection, name)
        assert found is not None
        return found.study_id
    rows = [
        {"direction": direction, "study_id": made, "objective": objective}
        for objective, direction in enumerate(directions)
    ]
    connection.execute(insert(table(DIRECTIONS)), rows)
    told = ((STUDY_SYSTEM_ATTRS, METRIC_NAMES, list(metrics)), (STUDY_USER_ATTRS, "description", description.strip()))
    for attributes, key, value in told:
        if value:
            row = {"study_id": made, "key": key, "value_json": json.dumps(value)}
            connection.execute(insert(table(attributes)), row)
    return int(made)


def delete_study(connection: Connection, name: str) -> bool:
    """Delete the study with everything about it, ours too. False when there is none of this name."""
    found = find_study(connection, name)
    if found is None:
        return False
    bound = {"study": found.study_id}
    connection.execute(text(f"SELECT 1 FROM {STUDIES} WHERE study_id = :study FOR UPDATE"), bound)
    children = sorted(each.name for each in metadata.tables.values() if "trial_id" in each.c and each.name != TRIALS)
    for child in (*children, "hpo_epochs"):
        trials_of = f"SELECT trial_id FROM {TRIALS} WHERE study_id = :study"
        connection.execute(text(f"DELETE FROM {child} WHERE trial_id IN ({trials_of})"), bound)
    own = ("hpo_changes", "hpo_leases", "hpo_workers", "hpo_studies", "hpo_evaluation_runs", "hpo_evaluations")
    for each in (*own, TRIALS, DIRECTIONS, STUDY_USER_ATTRS, STUDY_SYSTEM_ATTRS, STUDIES):
        connection.execute(text(f"DELETE FROM {each} WHERE study_id = :study"), bound)
    return True


def study_attrs(connection: Connection, study_id: int) -> tuple[dict[str, Any], dict[str, Any]]:
    """(user attributes, system attributes) of a study."""
    found: list[dict[str, Any]] = []
    for name in (STUDY_USER_ATTRS, STUDY_SYSTEM_ATTRS):
        attrs = table(name)
        rows = connection.execute(select(attrs.c.key, attrs.c.value_json).where(attrs.c.study_id == study_id))
        attributes: dict[str, Any] = {}
        for key, value in rows:
            with suppress(Undecodable):  # as if it were not there
                attributes[str(key)] = decoded(value)
        found.append(attributes)
    return found[0], found[1]


def register(
    connection: Connection,
    study_id: int,
    *,
    fingerprint: str,
    declaration: Any,
    source: str,
    seed: int,
    facts: Any,
) -> RegisteredStudy:
    """Record the declaration of a study unless it has one, and return what is recorded: compare the fingerprints."""
    connection.execute(
        text(
            "INSERT INTO hpo_studies (study_id, fingerprint, declaration, source, seed, facts)"
            " VALUES (:study, :fingerprint, :declaration, :source, :seed, :facts) ON CONFLICT (study_id) DO NOTHING"
        ),
        {
            "study": study_id,
            "fingerprint": fingerprint,
            "declaration": json.dumps(declaration),
            "source": source,
            "seed": seed,
            "facts": json.dumps(facts),
        },
    )
    recorded = _declared(connection, study_id)
    assert recorded is not None
    return recorded


def declaration(connection: Connection, study_id: int) -> RegisteredStudy | None:
    """Our record of the study; None for one that plain Optuna made."""
    return _declared(connection, study_id)


def holds_our_trials(connection: Connection, study_id: int) -> bool:
    """Whether a trial of the study was recorded by hpo, whoever the study belongs to now."""
    query = text(
        f"SELECT EXISTS (SELECT 1 FROM {USER_ATTRS} a JOIN {TRIALS} t ON t.trial_id = a.trial_id"
        " WHERE t.study_id = :study AND a.key IN ('packages', 'origin'))"
    )
    return bool(connection.execute(query, {"study": study_id}).scalar())


def set_budget(
    connection: Connection, study_id: int, deadline_in_seconds: float | None, trials_target: int | None
) -> None:
    """The study-wide deadline, from now by the database's clock, and the exact number of trials; None means none."""
    connection.execute(
        text(
            "UPDATE hpo_studies SET deadline = now() + make_interval(secs => CAST(:seconds AS double precision)),"
            " trials_target = :target WHERE study_id = :study"
        ),
        {"seconds": deadline_in_seconds, "target": trials_target, "study": study_id},
    )


def lock_budget(connection: Connection, study_id: int) -> None:
    """Until the transaction ends, nobody else can open the study or change its budget. Then they see the change."""
    connection.execute(text("SELECT 1 FROM hpo_studies WHERE study_id = :study FOR UPDATE"), {"study": study_id})


def budget(connection: Connection, study_id: int, counted: dict[TrialState, int] | None = None) -> Budget:
    """What is left, and how many trials are in each state, unless `counted`. KeyError for a study without a record."""
    row = connection.execute(
        text(
            f"SELECT {seconds_from('now()', 'deadline')}, trials_target, deadline,"
            " fingerprint FROM hpo_studies WHERE study_id = :study"
        ),
        {"study": study_id},
    ).one_or_none()
    if row is None:
        raise tables.NoStudy(study_id)
    seconds_left = None if row.deadline is None else row[0]
    return Budget(seconds_left, row[1], counted or counts(connection, study_id), row.deadline, row.fingerprint)


def counts(connection: Connection, study_id: int) -> dict[TrialState, int]:
    """How many trials the study has in each state, those without a number of Optuna's aside; also on SQLite."""
    trials = table(TRIALS)
    query = select(trials.c.state, func.count()).where(trials.c.study_id == study_id, is_numbered(trials))
    rows = connection.execute(query.group_by(trials.c.state))
    return dict.fromkeys(TrialState, 0) | {row[0]: row[1] for row in rows}


def _studies(connection: Connection, name: str | None) -> list[StudyRow]:
    studies, directions = table(STUDIES), table(DIRECTIONS)
    query = select(studies.c.study_id, studies.c.study_name, directions.c.direction).join(
        directions, directions.c.study_id == studies.c.study_id
    )
    if name is not None:
        query = query.where(studies.c.study_name == name)
    found: dict[int, StudyRow] = {}
    for study_id, study_name, direction in connection.execute(
        query.order_by(studies.c.study_id, directions.c.objective)
    ):
        before = found.get(study_id, StudyRow(study_id, study_name, ()))
        found[study_id] = StudyRow(study_id, study_name, (*before.directions, direction))
    return list(found.values())


def _declared(connection: Connection, study_id: int) -> RegisteredStudy | None:
    row = (
        connection.execute(select(tables.studies).where(tables.studies.c.study_id == study_id)).mappings().one_or_none()
    )
    if row is None:
        return None
    fields = dict(row)
    for column in ("declaration", "facts"):
        try:
            fields[column] = decoded_mapping(fields[column])
        except Undecodable as error:
            raise _altered(study_id, column, str(error)) from error
    return RegisteredStudy(**fields)


def _altered(study_id: int, column: str, how: str) -> StorageError:
    return StorageError(
        f"the record of study {study_id} in the database is not what hpo wrote: hpo_studies.{column}",
        evidence=[how],
        next="restore it from a backup, or start the study again under another --name",
    )

"""Optuna's tables and the words in them: the only file that spells them (tests/unit/test_optuna_internals.py).

Spelled out for the schema revisions in REVISIONS, so that commands that only read need none of Optuna's private names.
Enum values are stored by name; datetimes are naive UTC.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    distribution_to_json,
    json_to_distribution,
)
from optuna.study import StudyDirection
from optuna.trial import TrialState
from sqlalchemy import (
    CheckConstraint,
    Column,
    Connection,
    DateTime,
    Enum,
    Float,
    ForeignKey,
    Integer,
    MetaData,
    PrimaryKeyConstraint,
    String,
    Table,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.sql import ColumnElement

REVISIONS = ("v3.2.0.a",)
"""The schema revisions that hpo was written for and tried with. `ensure_schema` makes the tables of the last one."""

TRIED = "5.0.0"
"""The newest Optuna that hpo was tried with."""

RUNNING, WAITING = TrialState.RUNNING.name, TrialState.WAITING.name
COMPLETE, PRUNED, FAIL = TrialState.COMPLETE.name, TrialState.PRUNED.name, TrialState.FAIL.name

STATES = {
    TrialState.COMPLETE: "complete",
    TrialState.PRUNED: "pruned",
    TrialState.FAIL: "failed",
    TrialState.RUNNING: "running",
    TrialState.WAITING: "waiting",
}
"""Optuna's states of a trial, and the names that people see."""
FINISHED = tuple(name for state, name in STATES.items() if state.is_finished())

DIRECTION_WORDS = {StudyDirection.MINIMIZE: "minimize", StudyDirection.MAXIMIZE: "maximize"}
"""Optuna's directions of an objective, and the words of a study's declaration."""
DIRECTION_OF = {word: direction for direction, word in DIRECTION_WORDS.items()}

STUDIES, DIRECTIONS, TRIALS = "studies", "study_directions", "trials"
STUDY_USER_ATTRS, STUDY_SYSTEM_ATTRS = "study_user_attributes", "study_system_attributes"
USER_ATTRS, SYSTEM_ATTRS = "trial_user_attributes", "trial_system_attributes"
PARAMS, VALUES, INTERMEDIATE = "trial_params", "trial_values", "trial_intermediate_values"
STATE_TYPE, VALUE_TYPE, INTERMEDIATE_TYPE = "trialstate", "trialvaluetype", "trialintermediatevaluetype"
REVISION_TABLE, VERSION_TABLE = "alembic_version", "version_info"

LARGEST_NUMBER = 99_999_999
"""No study has more trials; a number beyond was written by somebody, whatever id stands beside it."""

NUMBERED = f"t.number BETWEEN 0 AND t.trial_id AND t.number <= {LARGEST_NUMBER}"
"""SQL: of trials t that have a number as Optuna gives them. Numbers count a study's trials and ids those of all, so a
larger number is somebody's own; the next trial's would follow it, up to where the column is full. Such a trial, and
one without a number, is as if it were not there."""

FIXED_PARAMS = "fixed_params"
"""The trial system attribute that holds what a trial was enqueued with."""
METRIC_NAMES = "study:metric_names"
"""The study system attribute that holds what `Study.set_metric_names` was given."""
LEGACY_SCHEMA_VERSION = 12
"""What `version_info` holds since Optuna has used alembic for versions."""

_SPECIAL = {"NAN": math.nan, "INF_POS": math.inf, "INF_NEG": -math.inf}

metadata = MetaData()


def _table(name: str, key: str, *columns: Any) -> Table:
    return Table(name, metadata, Column(key, Integer, primary_key=True), *columns)


def _child(name: str, key: str, owner: str, place: str, *columns: Any, required: bool = True) -> Table:
    """A table with one row for each `place` (a column) of its owner: a study or a trial."""
    parent = STUDIES if owner == "study_id" else TRIALS
    link = Column(owner, Integer, ForeignKey(f"{parent}.{owner}"), nullable=not required)
    return _table(name, key, link, *columns, UniqueConstraint(owner, place))


def _attributes(name: str, key: str, owner: str) -> Table:
    return _child(name, key, owner, "key", Column("key", String(512)), Column("value_json", Text), required=False)


_table(STUDIES, "study_id", Column("study_name", String(512), nullable=False, index=True, unique=True))
_child(DIRECTIONS, "study_direction_id", "study_id", "objective",
       Column("direction", Enum(StudyDirection), nullable=False),
       Column("objective", Integer, nullable=False))  # fmt: skip
_attributes(STUDY_USER_ATTRS, "study_user_attribute_id", "study_id")
_attributes(STUDY_SYSTEM_ATTRS, "study_system_attribute_id", "study_id")
_table(TRIALS, "trial_id", Column("number", Integer),
       Column("study_id", Integer, ForeignKey(f"{STUDIES}.study_id"), index=True),
       Column("state", Enum(TrialState), nullable=False),
       Column("datetime_start", DateTime), Column("datetime_complete", DateTime))  # fmt: skip
_attributes(USER_ATTRS, "trial_user_attribute_id", "trial_id")
_attributes(SYSTEM_ATTRS, "trial_system_attribute_id", "trial_id")
_child(PARAMS, "param_id", "trial_id", "param_name", Column("param_name", String(512)),
       Column("param_value", Float(53)), Column("distribution_json", Text), required=False)  # fmt: skip
_child(VALUES, "trial_value_id", "trial_id", "objective",
       Column("objective", Integer, nullable=False), Column("value", Float(53)),
       Column("value_type", Enum("FINITE", "INF_POS", "INF_NEG", name=VALUE_TYPE), nullable=False))  # fmt: skip
_child(INTERMEDIATE, "trial_intermediate_value_id", "trial_id", "step",
       Column("step", Integer, nullable=False), Column("intermediate_value", Float(53)),
       Column("intermediate_value_type", Enum("FINITE", "INF_POS", "INF_NEG", "NAN", name=INTERMEDIATE_TYPE),
              nullable=False))  # fmt: skip
_table("trial_heartbeats", "trial_heartbeat_id",
       Column("trial_id", Integer, ForeignKey(f"{TRIALS}.trial_id"), nullable=False, unique=True),
       Column("heartbeat", DateTime, nullable=False))  # fmt: skip
Table(VERSION_TABLE, metadata, Column("version_info_id", Integer, CheckConstraint("version_info_id=1"),
      primary_key=True, autoincrement=False),
      Column("schema_version", Integer), Column("library_version", String(256)))  # fmt: skip
Table(REVISION_TABLE, metadata, Column("version_num", String(32), nullable=False),
      PrimaryKeyConstraint("version_num", name="alembic_version_pkc"))  # fmt: skip


def table(name: str) -> Table:
    """One of Optuna's tables by its name in the database."""
    return metadata.tables[name]


def is_numbered(trials: Table) -> ColumnElement[bool]:
    """NUMBERED for a query that SQLAlchemy builds."""
    return trials.c.number.between(0, trials.c.trial_id) & (trials.c.number <= LARGEST_NUMBER)


def stamp(connection: Connection) -> None:
    """Mark a database whose tables were just made as RDBStorage does: `version_info` and `alembic_version`."""
    connection.execute(
        text(
            f"INSERT INTO {VERSION_TABLE} (version_info_id, schema_version, library_version)"
            " VALUES (1, :schema, :library) ON CONFLICT DO NOTHING"
        ),
        {"schema": LEGACY_SCHEMA_VERSION, "library": optuna.__version__},
    )
    connection.execute(
        text(
            f"INSERT INTO {REVISION_TABLE} (version_num)"
            f" SELECT :revision WHERE NOT EXISTS (SELECT 1 FROM {REVISION_TABLE})"
        ),
        {"revision": REVISIONS[-1]},
    )


def count_finished(counts: Mapping[str, int]) -> int:
    """How many trials are complete, pruned or failed, from the number of each state by the name that people see."""
    return sum(counts[name] for name in FINISHED)


@lru_cache(maxsize=4096)
def distribution_from(stored: str) -> BaseDistribution:
    """The distribution of a stored text. Shared between trials: distributions are never changed in place."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about choices that Optuna discourages, whoever stored them
        return json_to_distribution(stored)


def parameter_value(distribution: BaseDistribution, stored: float | None) -> Any:
    """The value of a parameter that is stored as a number. ValueError if it is outside the distribution, of which
    Optuna's own reader takes any float, and a negative index from the end of the choices."""
    low, high = (
        (0, len(distribution.choices) - 1)
        if isinstance(distribution, CategoricalDistribution)
        else (getattr(distribution, "low", -math.inf), getattr(distribution, "high", math.inf))
    )
    if stored is None or not low <= stored <= high:
        raise ValueError(f"{stored} is outside {distribution}")
    return distribution.to_external_repr(stored)


def distribution_text(distribution: BaseDistribution) -> str:
    return distribution_to_json(distribution)


def as_stored(value: float) -> tuple[float | None, str]:
    """A value and the name of its type, as the tables VALUES and INTERMEDIATE keep them."""
    if math.isnan(value):
        return None, "NAN"
    if math.isinf(value):
        return None, "INF_POS" if value > 0 else "INF_NEG"
    return float(value), "FINITE"


def as_value(stored: float | None, kind: str) -> float:
    return _SPECIAL.get(kind, math.nan) if stored is None else stored

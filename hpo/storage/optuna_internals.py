"""Optuna's tables and private internals: the only file that knows any of them.

Written against Optuna 5.0, schema v3.2.0.a. Enum values are stored by name; datetimes are naive UTC.
"""

from __future__ import annotations

import math
import re
from functools import lru_cache
from pathlib import Path

import optuna.storages._rdb.models as models
from optuna.artifacts._upload import ARTIFACTS_ATTR_PREFIX
from optuna.distributions import BaseDistribution, distribution_to_json, json_to_distribution
from optuna.study._constrained_optimization import _CONSTRAINTS_KEY
from optuna.study._frozen import FrozenStudy
from optuna.trial import FrozenTrial
from sqlalchemy import Connection, MetaData, Table, text

__all__ = [
    "FrozenStudy",
    "artifact_key",
    "as_stored",
    "as_value",
    "constraint_key",
    "distribution_from",
    "distribution_text",
    "head_revision",
    "metadata",
    "stamp",
    "table",
    "trial_id_of",
]

_ALEMBIC = Path(models.__file__).parent / "alembic"
metadata: MetaData = models.BaseModel.metadata
LEGACY_SCHEMA_VERSION: int = models.SCHEMA_VERSION


def artifact_key(artifact_id: str) -> str:
    """The system attribute under which Optuna and its dashboard look for an artifact."""
    return ARTIFACTS_ATTR_PREFIX + artifact_id


def table(name: str) -> Table:
    """One of Optuna's tables by its name in the database."""
    return metadata.tables[name]


@lru_cache(maxsize=4096)
def distribution_from(stored: str) -> BaseDistribution:
    """The distribution of a stored text. Shared between trials: distributions are never changed in place."""
    return json_to_distribution(stored)


def distribution_text(distribution: BaseDistribution) -> str:
    return distribution_to_json(distribution)


def as_stored(value: float) -> tuple[float | None, str]:
    """A value and the name of its type, as `trial_values` and `trial_intermediate_values` keep them."""
    if math.isnan(value):
        return None, "NAN"
    if math.isinf(value):
        return None, "INF_POS" if value > 0 else "INF_NEG"
    return float(value), "FINITE"


_SPECIAL = {"NAN": math.nan, "INF_POS": math.inf, "INF_NEG": -math.inf}


def as_value(stored: float | None, kind: str) -> float:
    return _SPECIAL[kind] if stored is None else stored


@lru_cache(maxsize=1)
def _revisions() -> tuple[str, frozenset[str]]:
    """The newest schema revision of the installed Optuna and all it knows, read from its scripts: importing alembic for
    this takes as long as importing Optuna, and every command that reads would wait for it."""
    scripts = [path.read_text(encoding="utf-8") for path in (_ALEMBIC / "versions").glob("*.py")]
    known, replaced = (
        {match[1] for script in scripts if (match := re.search(rf'^{name} = "(.+)"$', script, re.MULTILINE))}
        for name in ("revision", "down_revision")
    )
    (head,) = known - replaced
    return head, frozenset(known)


def head_revision() -> str:
    """The schema revision of the installed Optuna."""
    return _revisions()[0]


def known_revisions() -> frozenset[str]:
    return _revisions()[1]


def stamp(connection: Connection) -> None:
    """Mark a database whose tables were just made as RDBStorage does: `version_info` and `alembic_version`."""
    from alembic.config import Config
    from alembic.migration import MigrationContext
    from alembic.script import ScriptDirectory
    from optuna.version import __version__

    connection.execute(
        text(
            "INSERT INTO version_info (version_info_id, schema_version, library_version) VALUES (1, :schema, :library)"
            " ON CONFLICT DO NOTHING"
        ),
        {"schema": LEGACY_SCHEMA_VERSION, "library": __version__},
    )
    config = Config()
    # alembic reads this through configparser, where % begins a variable
    config.set_main_option("script_location", str(_ALEMBIC).replace("%", "%%"))
    MigrationContext.configure(connection).stamp(ScriptDirectory.from_config(config), head_revision())


def constraint_key(name: str) -> str:
    """The trial system attribute under which `Trial.set_constraint(name, value)` keeps its value."""
    return f"{_CONSTRAINTS_KEY}:{name}"


def trial_id_of(trial: FrozenTrial) -> int:
    """The database's key of a trial."""
    return trial._trial_id

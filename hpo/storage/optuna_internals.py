"""Optuna's tables and private internals: the only file that knows any of them (contract: tests/storage/test_mirror.py).

Written against Optuna 5.0, schema v3.2.0.a. Enum values are stored by name; datetimes are naive UTC.
"""

from __future__ import annotations

import json
import math
import re
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import optuna.storages._rdb.models as models
from numpy.typing import NDArray
from optuna.artifacts._upload import ARTIFACTS_ATTR_PREFIX
from optuna.distributions import BaseDistribution, distribution_to_json, json_to_distribution
from optuna.samplers import TPESampler
from optuna.samplers._tpe.parzen_estimator import _ParzenEstimator
from optuna.samplers._tpe.sampler import _RELATIVE_PARAMS_KEY, _SYSTEM_ATTR_MAX_LENGTH, default_gamma
from optuna.search_space import IntersectionSearchSpace
from optuna.study import Study
from optuna.study._constrained_optimization import _CONSTRAINTS_KEY
from optuna.study._frozen import FrozenStudy
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy import Connection, MetaData, Table, text

from hpo.storage.densities import log_density

if TYPE_CHECKING:
    from hpo.storage.columns import Columns

__all__ = [
    "ColumnTPE",
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


_TIE = 1e-6
"""Candidates whose gains differ by less are judged by Optuna's own arithmetic; far above the quick one's rounding."""


class _Estimator(_ParzenEstimator):
    """TPE's kernel estimator, which can also be evaluated with hpo.storage.densities."""

    def quick_log_pdf(self, samples: dict[str, NDArray[np.float64]]) -> NDArray[np.float64]:
        mixture = self._mixture_distribution
        return log_density(self._transform(samples), mixture.weights, mixture.distributions)


class ColumnTPE(TPESampler):
    """Proposes exactly what TPESampler proposes, from columns of the study instead of a walk through its trials.

    Optuna's sampler sorts and converts every trial again for each parameter outside the search space that all trials
    share; here only the estimators are built anew. For one objective, in the ledger's thread. `space` and `columns` are
    kept from trial to trial; the rest is made anew for each, from its seed.
    """

    def __init__(self, columns: Columns, space: IntersectionSearchSpace, *, startup_trials: int, seed: int) -> None:
        super().__init__(n_startup_trials=startup_trials, seed=seed)
        self._columns = columns
        self._search_space = space
        columns.refresh()

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        if not search_space or len(self._columns) < self._n_startup_trials:
            return {}
        params = self._propose(study, trial, search_space)
        # So that other processes, stock Optuna's too, count this trial where it is going to be.
        words = json.dumps(params)
        for place in range(0, len(words), _SYSTEM_ATTR_MAX_LENGTH):
            key = f"{_RELATIVE_PARAMS_KEY}:{place // _SYSTEM_ATTR_MAX_LENGTH}"
            study._storage.set_trial_system_attr(
                trial_id_of(trial), key, words[place : place + _SYSTEM_ATTR_MAX_LENGTH]
            )
        return params

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        if len(self._columns) < self._n_startup_trials:
            return self._random_sampler.sample_independent(study, trial, param_name, param_distribution)
        return self._propose(study, trial, {param_name: param_distribution})[param_name]

    def _propose(self, study: Study, trial: FrozenTrial, space: dict[str, BaseDistribution]) -> dict[str, Any]:
        running = {
            other.number: {name: kind.to_internal_repr(params[name]) for name, kind in space.items()}
            for other in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
            if other.number != trial.number and space.keys() <= (params := self._get_params(other, study)).keys()
        }
        below, above = self._columns.split(list(space), default_gamma(len(self._columns)), running)
        good = _Estimator(below, space, self._parzen_estimator_parameters)
        bad = _Estimator(above, space, self._parzen_estimator_parameters)
        samples = good.sample(self._rng.rng, self._n_ei_candidates)
        gain = good.quick_log_pdf(samples) - bad.quick_log_pdf(samples)
        if len({tuple(draw) for draw in np.stack(list(samples.values()), axis=1)[gain >= gain.max() - _TIE]}) > 1:
            gain = self._compute_acquisition_func(samples, good, bad)
        chosen = self._compare(samples, gain)
        return {name: kind.to_external_repr(chosen[name]) for name, kind in space.items()}

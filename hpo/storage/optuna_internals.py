"""Optuna's private names: the only file that spells them (tests/unit/test_optuna_internals.py).

Written against Optuna 5.0. Commands that only read need none of these names. A search for which one is missing works
without it (hpo.sampling.choose).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from numpy.typing import NDArray
from optuna.distributions import BaseDistribution
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

__all__ = [
    "PRIVATE_NAMES",
    "TPEInternals",
    "artifact_key",
    "constraint_key",
    "frozen_study",
    "head_revision",
    "id_attribute",
    "is_system_attribute",
    "known_revisions",
    "trial_id_of",
]

try:
    from optuna.artifacts._upload import ARTIFACTS_ATTR_PREFIX
except ImportError:
    ARTIFACTS_ATTR_PREFIX = "artifacts:"
try:
    from optuna.study._constrained_optimization import _CONSTRAINTS_KEY
except ImportError:
    _CONSTRAINTS_KEY = "constraints"

PRIVATE_NAMES = (
    "optuna.artifacts._upload.ARTIFACTS_ATTR_PREFIX",
    "optuna.samplers._tpe.parzen_estimator._ParzenEstimator",
    "optuna.samplers._tpe.parzen_estimator._ParzenEstimator._mixture_distribution",
    "optuna.samplers._tpe.parzen_estimator._ParzenEstimator._transform",
    "optuna.samplers._tpe.sampler.TPESampler._get_params",
    "optuna.samplers._tpe.sampler.TPESampler._n_ei_candidates",
    "optuna.samplers._tpe.sampler.TPESampler._parzen_estimator_parameters",
    "optuna.samplers._tpe.sampler.TPESampler._rng",
    "optuna.samplers._tpe.sampler._RELATIVE_PARAMS_KEY",
    "optuna.samplers._tpe.sampler._SYSTEM_ATTR_MAX_LENGTH",
    "optuna.samplers._tpe.sampler.default_gamma",
    "optuna.storages._rdb",
    "optuna.study._constrained_optimization._CONSTRAINTS_KEY",
    "optuna.study._frozen.FrozenStudy",
    "optuna.trial.FrozenTrial._trial_id",
)
"""Every private name of Optuna that this file uses. Any of them may disappear; the tests remove one after the other."""


@lru_cache(maxsize=1)
def _revisions() -> tuple[str, frozenset[str]]:
    """The newest schema revision of the installed Optuna and all it knows.

    Read from its migration scripts if they are where they should be: importing alembic takes as long as importing
    Optuna, and every command that reads would wait for it.
    """
    folder = Path(optuna.__file__).parent / "storages" / "_rdb" / "alembic" / "versions"
    scripts = [path.read_text(encoding="utf-8") for path in folder.glob("*.py")]
    known, replaced = (
        {match[1] for script in scripts if (match := re.search(rf'^{name} = "(.+)"$', script, re.MULTILINE))}
        for name in ("revision", "down_revision")
    )
    if len(heads := known - replaced) == 1:
        return heads.pop(), frozenset(known)
    asked = optuna.storages.RDBStorage("sqlite://")  # a database in memory
    return asked.get_head_version(), frozenset(asked.get_all_versions())


def head_revision() -> str:
    """The schema revision of the installed Optuna."""
    return _revisions()[0]


def known_revisions() -> frozenset[str]:
    return _revisions()[1]


def artifact_key(artifact_id: str) -> str:
    """The system attribute under which Optuna and its dashboard look for an artifact."""
    return ARTIFACTS_ATTR_PREFIX + artifact_id


def is_system_attribute(key: str, value: Any) -> bool:
    """False for a constraint that Optuna could not have stored: FrozenTrial.constraints would return it as a number.

    As a list, under one key, it stands in databases of earlier versions.
    """
    if key == _CONSTRAINTS_KEY:
        return isinstance(value, list) and all(map(_is_limit, value))
    return not key.startswith(f"{_CONSTRAINTS_KEY}:") or _is_limit(value)


def _is_limit(value: Any) -> bool:
    return (isinstance(value, float) and value == value) or (type(value) is int and abs(value) <= 2**53)


def constraint_key(name: str) -> str:
    """The trial system attribute under which `Trial.set_constraint(name, value)` keeps its value."""
    return f"{_CONSTRAINTS_KEY}:{name}"


@lru_cache(maxsize=1)
def id_attribute() -> str:
    """Where a FrozenTrial keeps its `trial_id`: it takes one, but has no public attribute for it."""
    asked = -918273645
    sample = FrozenTrial(
        number=0, state=TrialState.RUNNING, value=None, datetime_start=None, datetime_complete=None, params={},
        distributions={}, user_attrs={}, system_attrs={}, intermediate_values={}, trial_id=asked,
    )  # fmt: skip
    return next(name for name, value in vars(sample).items() if value == asked)


def trial_id_of(trial: FrozenTrial) -> int:
    """The database's key of a trial."""
    return int(getattr(trial, id_attribute()))


def frozen_study(
    name: str,
    directions: Sequence[StudyDirection],
    user_attrs: Mapping[str, Any],
    system_attrs: Mapping[str, Any],
    study_id: int,
) -> Any:
    """A study as `optuna.storages.BaseStorage.get_all_studies` lists it. Neither samplers nor pruners ask for that."""
    try:
        from optuna.study._frozen import FrozenStudy
    except ImportError as error:
        raise NotImplementedError(f"Optuna {optuna.__version__} has no FrozenStudy where 5.0 has it") from error
    return FrozenStudy(name, None, dict(user_attrs), dict(system_attrs), study_id, directions=directions)


Observations = dict[str, NDArray[np.float64]]


class TPEInternals:
    """The parts of one TPESampler, which hpo.sampling.column_tpe combines in its own way. Commands that read make none.

    Where a part is gone or has changed, ImportError, AttributeError or TypeError comes up, here or in a method:
    hpo.sampling.rehearsal finds that out before the first trial.
    """

    def __init__(self, startup_trials: int, seed: int) -> None:
        from optuna.samplers._tpe import parzen_estimator, sampler

        self._sampler = sampler.TPESampler(n_startup_trials=startup_trials, seed=seed)
        self._estimator = parzen_estimator._ParzenEstimator
        self.good_trials = sampler.default_gamma
        self.params_key = sampler._RELATIVE_PARAMS_KEY
        self.longest_attribute = sampler._SYSTEM_ATTR_MAX_LENGTH

    def estimator(self, observations: Observations, space: dict[str, BaseDistribution]) -> Any:
        """TPE's kernel estimator over `observations`, by parameter, in Optuna's internal representation."""
        return self._estimator(observations, space, self._sampler._parzen_estimator_parameters)

    def draw(self, estimator: Any) -> Observations:
        """The candidates of one proposal, by parameter."""
        samples: Observations = estimator.sample(self._sampler._rng.rng, self._sampler._n_ei_candidates)
        return samples

    def kernels(self, estimator: Any, samples: Observations) -> tuple[Any, Any, Any]:
        """(points, weights, kernels) as hpo.sampling.densities.log_density takes them."""
        mixture = estimator._mixture_distribution
        return estimator._transform(samples), mixture.weights, mixture.distributions

    def params_of(self, trial: FrozenTrial, study: optuna.Study) -> dict[str, Any]:
        """The parameters of a running trial, including those that were proposed and not asked for yet."""
        return self._sampler._get_params(trial, study)

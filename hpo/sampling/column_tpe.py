"""Optuna's TPE, proposing from columns of the study instead of a walk through its trials."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
from numpy.typing import NDArray
from optuna.distributions import BaseDistribution
from optuna.samplers import TPESampler
from optuna.samplers._tpe.parzen_estimator import _ParzenEstimator
from optuna.samplers._tpe.sampler import _RELATIVE_PARAMS_KEY, _SYSTEM_ATTR_MAX_LENGTH, default_gamma
from optuna.search_space import IntersectionSearchSpace
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from hpo.sampling.densities import log_density
from hpo.sampling.observations import TrialObservations
from hpo.storage.optuna_internals import trial_id_of

__all__ = ["ColumnTPE"]

_TIE = 1e-6
"""Candidates whose gains differ by less are judged by Optuna's own arithmetic; far above the quick one's rounding."""


class _Estimator(_ParzenEstimator):
    """TPE's kernel estimator, which can also be evaluated with hpo.sampling.densities."""

    def quick_log_pdf(self, samples: dict[str, NDArray[np.float64]]) -> NDArray[np.float64]:
        mixture = self._mixture_distribution
        return log_density(self._transform(samples), mixture.weights, mixture.distributions)


class ColumnTPE(TPESampler):
    """Proposes exactly what TPESampler proposes, from columns of the study instead of a walk through its trials.

    Optuna's sampler sorts and converts every trial again for each parameter outside the search space that all trials
    share; here only the estimators are built anew. For one objective, in the ledger's thread. `space` and `columns` are
    kept from trial to trial; the rest is made anew for each, from its seed.
    """

    def __init__(
        self, columns: TrialObservations, space: IntersectionSearchSpace, *, startup_trials: int, seed: int
    ) -> None:
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

"""Optuna's TPE, proposing from columns of the study instead of a walk through its trials."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
from numpy.typing import NDArray
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler, RandomSampler
from optuna.search_space import IntersectionSearchSpace
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from hpo.sampling.densities import log_density
from hpo.sampling.observations import TrialObservations
from hpo.storage.optuna_internals import TPEInternals, trial_id_of

__all__ = ["ColumnTPE"]

_TIE = 1e-6
"""If gains of candidates differ by less, Optuna's own arithmetic decides; far above the fast one's rounding."""


class ColumnTPE(BaseSampler):
    """Proposes exactly what TPESampler proposes, from columns of the study instead of a walk through its trials.

    Beyond MOST_OTHERS trials it shows the estimator a part of them, so that a proposal stays a fraction of a second.
    Optuna's sampler sorts and converts every trial again for each parameter outside the search space that all trials
    share; here only the estimators are built again. For one objective, in the storage thread. `space` and `columns` are
    kept between trials; the rest is made for each trial from its seed.
    """

    def __init__(
        self, columns: TrialObservations, space: IntersectionSearchSpace, *, startup_trials: int, seed: int
    ) -> None:
        self._columns = columns
        self._space = space
        self._startup_trials = startup_trials
        self._random = RandomSampler(seed=seed)
        self._tpe = TPEInternals(startup_trials, seed)
        columns.refresh()

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        shared = self._space.calculate(study, use_cache=True)
        return {name: kind for name, kind in shared.items() if not kind.single()}

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        if not search_space or len(self._columns) < self._startup_trials:
            return {}
        params = self._propose(study, trial, search_space)
        # So that other processes, also of plain Optuna, count this trial where it will be.
        words, longest = json.dumps(params), self._tpe.longest_attribute
        for place in range(0, len(words), longest):
            key = f"{self._tpe.params_key}:{place // longest}"
            self._columns.study.set_trial_system_attr(trial_id_of(trial), key, words[place : place + longest])
        return params

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        if len(self._columns) < self._startup_trials:
            return self._random.sample_independent(study, trial, param_name, param_distribution)
        return self._propose(study, trial, {param_name: param_distribution})[param_name]

    def _propose(self, study: Study, trial: FrozenTrial, space: dict[str, BaseDistribution]) -> dict[str, Any]:
        running = {
            other.number: {name: kind.to_internal_repr(params[name]) for name, kind in space.items()}
            for other in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
            if other.number != trial.number and space.keys() <= (params := self._tpe.params_of(other, study)).keys()
        }
        below, above = self._columns.split(list(space), self._tpe.good_trials(len(self._columns)), running)
        good, bad = self._tpe.estimator(below, space), self._tpe.estimator(above, space)
        samples = self._tpe.draw(good)
        gain = self._density(good, samples) - self._density(bad, samples)
        if len({tuple(draw) for draw in np.stack(list(samples.values()), axis=1)[gain >= gain.max() - _TIE]}) > 1:
            gain = good.log_pdf(samples) - bad.log_pdf(samples)
        best = np.argmax(gain)
        return {name: kind.to_external_repr(samples[name][best].item()) for name, kind in space.items()}

    def _density(self, estimator: Any, samples: dict[str, NDArray[np.float64]]) -> NDArray[np.float64]:
        return log_density(*self._tpe.kernels(estimator, samples))

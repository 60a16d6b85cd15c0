"""Samplers for one trial whose values are decided already, or each by itself."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler
from optuna.study import Study
from optuna.trial import FrozenTrial

__all__ = ["IndependentSampler", "PlannedSampler"]


class IndependentSampler(BaseSampler):
    """Gives each parameter by itself: nothing is sampled together. A subclass has `sample_independent`."""

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        return {}

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        return {}


class PlannedSampler(IndependentSampler):
    """Gives each parameter its planned value; another sampler gives what the plan lacks."""

    def __init__(self, planned: Mapping[str, Any], sampler: BaseSampler) -> None:
        self._planned, self._sampler = planned, sampler

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        if param_name in self._planned:
            return self._planned[param_name]
        return self._sampler.sample_independent(study, trial, param_name, param_distribution)

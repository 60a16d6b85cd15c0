"""A trial's sampler whose values can be had before the trial asks for them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.samplers import BaseSampler
from optuna.study import Study
from optuna.trial import FrozenTrial, Trial

__all__ = ["ForeseeingSampler"]

Space = Mapping[str, BaseDistribution]


class ForeseeingSampler(BaseSampler):
    """Another sampler, for one trial: what `foresee` returns is what the trial will be suggested."""

    def __init__(self, sampler: BaseSampler) -> None:
        self._sampler = sampler
        self._shown: tuple[Study, FrozenTrial] | None = None  # by Optuna: Hyperband's study has one bracket's trials
        self._ahead: dict[str, tuple[BaseDistribution, Any]] = {}

    def foresee(self, trial: Trial, space: Space) -> dict[str, Any]:
        """What `trial`, whose sampler this is, will be suggested if it asks for all of `space`, in its order.

        It records no parameters. If the trial asks for something else, it gets what the sampler proposes then.
        """
        together = trial.relative_params  # drawn before any other, as when a trial asks
        shared = trial.relative_search_space or {}
        values: dict[str, Any] = {}
        for name, kind in space.items():
            if kind.single():
                values[name] = kind.choices[0] if isinstance(kind, CategoricalDistribution) else kind.low  # type: ignore[attr-defined]
            elif name in together and shared.get(name) == kind:
                values[name] = together[name]
            else:
                assert self._shown is not None
                values[name] = self._sampler.sample_independent(*self._shown, name, kind)
                self._ahead[name] = kind, values[name]
        return values

    # What Optuna asks of a sampler --------------------------------------------------------------------------------

    def before_trial(self, study: Study, trial: FrozenTrial) -> None:
        self._sampler.before_trial(study, trial)

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        self._shown = study, trial
        return self._sampler.infer_relative_search_space(study, trial)

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        return self._sampler.sample_relative(study, trial, search_space)

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        kind, value = self._ahead.get(param_name, (None, None))
        if kind == param_distribution:
            return value
        return self._sampler.sample_independent(study, trial, param_name, param_distribution)

"""A value that was drawn ahead is for the very distribution that it was drawn from."""

from __future__ import annotations

from typing import Any

import optuna
from optuna.distributions import BaseDistribution, FloatDistribution
from optuna.samplers import BaseSampler, RandomSampler

from hpo.sampling.foreseeing import ForeseeingSampler

WIDE, NARROW = FloatDistribution(10, 20), FloatDistribution(0, 1)


class Together(RandomSampler):
    """Draws x from a shared space, as CMA-ES and multivariate TPE do."""

    def infer_relative_search_space(self, study: Any, trial: Any) -> dict[str, BaseDistribution]:
        return {"x": WIDE}

    def sample_relative(self, study: Any, trial: Any, search_space: dict[str, BaseDistribution]) -> dict[str, Any]:
        return {"x": 15.0}


def asked(sampler: BaseSampler) -> tuple[ForeseeingSampler, optuna.Trial]:
    foreseeing = ForeseeingSampler(sampler)
    return foreseeing, optuna.create_study(sampler=foreseeing).ask()


def test_another_distribution_than_the_foreseen_one_gets_a_value_of_its_own() -> None:
    foreseeing, trial = asked(RandomSampler(seed=0))
    assert 10 <= foreseeing.foresee(trial, {"x": WIDE})["x"] <= 20
    assert 0 <= trial.suggest_float("x", 0, 1) <= 1


def test_a_value_drawn_from_a_shared_space_is_foreseen_for_that_distribution_alone() -> None:
    foreseeing, trial = asked(Together(seed=0))
    assert foreseeing.foresee(trial, {"x": WIDE}) == {"x": 15.0}
    foreseeing, trial = asked(Together(seed=0))
    values = foreseeing.foresee(trial, {"x": NARROW})
    assert 0 <= values["x"] <= 1

"""A share of trials that are proposed by what the user believes of the rows, which fades as trials tell better."""

from __future__ import annotations

import random
from typing import Any

from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler
from optuna.study import Study
from optuna.trial import FrozenTrial

from hpo.sampling.planned import IndependentSampler
from hpo.seeds import sampler_seed
from hpo.study.believing import Beliefs

__all__ = ["believed"]

SHARE = 0.3
"""Of the first trials: more found what a right belief says a little sooner, and lost more by a wrong one."""

FADES = 20
"""The number of trials after which the share is half of the first one; of trial n it is FADES / (FADES + n) of it."""


def believed(sampler: BaseSampler, beliefs: Beliefs, study_seed: int, number: int, again: int) -> BaseSampler:
    """What proposes trial `number`: by chance the beliefs, else `sampler`. again: how often it was asked before."""
    draw = random.Random(f"belief/{again}/{sampler_seed(study_seed, number)}")
    if not beliefs or draw.random() >= SHARE * FADES / (FADES + number):
        return sampler
    return _BelievedSampler(sampler, beliefs, draw)


class _BelievedSampler(IndependentSampler):
    """Draws each parameter of which something is believed, by that; another sampler gives the others."""

    def __init__(self, sampler: BaseSampler, beliefs: Beliefs, draw: random.Random) -> None:
        self._sampler, self._beliefs, self._draw = sampler, beliefs, draw

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        row = self._beliefs.row(param_name)
        if row is not None:
            return self._beliefs.draw(row, self._draw.random)
        return self._sampler.sample_independent(study, trial, param_name, param_distribution)

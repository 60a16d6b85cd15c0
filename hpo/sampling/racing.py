"""Trials of several seeds race: one that cannot win any more has its last seed behind it."""

from __future__ import annotations

import math

from optuna.pruners import BasePruner
from optuna.study import Study as OptunaStudy
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from hpo.storage.seed_noise import noise_within_trials
from hpo.storage.study_cache import StudyCache

__all__ = ["Racing"]

LEAST_CHANCE = 0.05
"""A trial goes on as long as its mean over all seeds has this chance to pass the best one's."""

ENOUGH = 3
"""Of how many differences between seeds of one configuration their spread is known from: one or two may be alike."""


class Racing(BasePruner):
    """Ends a trial whose seeds so far leave it no chance, and what another pruner ends.

    The mean of the seeds to come differs from that of the k of n so far by a normal variable with the deviation
    s * sqrt((n - k) / (n * k)) in the mean over all, where s is that of one seed, learned from all trials.
    """

    def __init__(self, seeds: int, inner: BasePruner, cache: StudyCache) -> None:
        self._seeds, self._inner, self._cache = seeds, inner, cache
        self._maximize = cache.directions[0] == StudyDirection.MAXIMIZE
        self._revision = 0
        self._ended: dict[int, FrozenTrial] = {}

    def prune(self, study: OptunaStudy, trial: FrozenTrial) -> bool:
        done = trial.last_step
        if done is None or done >= self._seeds:  # nothing is left to save
            return False
        return self._lost(trial, done) or self._inner.prune(study, trial)

    def _lost(self, trial: FrozenTrial, done: int) -> bool:
        changed, self._revision = self._cache.finished_since(self._revision)
        for other in changed:
            self._ended.pop(other.number, None)
            if other.state.is_finished():
                self._ended[other.number] = other
        noise = noise_within_trials([*self._ended.values(), trial])
        best = self._best()
        mean = trial.intermediate_values[done]
        if noise is None or noise.freedom < ENOUGH or best is None or math.isnan(mean):
            return math.isnan(mean)
        behind = best - mean if self._maximize else mean - best
        spread = noise.deviation * math.sqrt((self._seeds - done) / (self._seeds * done))
        if behind <= 0.0 or spread == 0.0:
            return behind > 0.0
        from scipy.special import stdtr  # which takes longer to import than the rest of a coordinator's start

        return float(stdtr(noise.freedom, -behind / spread)) < LEAST_CHANCE

    def _best(self) -> float | None:
        values = [
            trial.values[0]
            for trial in self._ended.values()
            if trial.state is TrialState.COMPLETE and trial.values and math.isfinite(trial.values[0])
        ]
        return (max if self._maximize else min)(values, default=None)

"""Which new trials a search by brute force may begin: none that would repeat another, and none once all are tried."""

from __future__ import annotations

import optuna
from optuna.trial import TrialState

from hpo.storage.study_cache import StudyCache
from hpo.study.samplers import BruteForce
from hpo.study.study import Study

__all__ = ["Exhaustion"]


class _Stoppable(optuna.Study):
    """A study that a sampler may stop: `study.optimize` would end, and here `stopped` is set."""

    stopped = False

    def stop(self) -> None:
        self.stopped = True


class Exhaustion:
    """Asks Optuna's brute force whether it has anything left to propose."""

    def __init__(self, study: Study, cache: StudyCache) -> None:
        self._study, self._cache = study, cache

    def room(self, limit: int) -> int:
        """How many of `limit` new trials may begin. For brute force at most one, and only when every trial under way
        has asked for something: until then nobody knows which combination it is."""
        if not isinstance(self._study.sampler, BruteForce):
            return limit
        view = _Stoppable(study_name=self._study.name, storage=self._cache)
        trials = view.get_trials(deepcopy=False)
        if any(trial.state is TrialState.RUNNING and not trial.params for trial in trials):
            return 0
        last = next((trial for trial in reversed(trials) if trial.params), None)
        if last is None:
            return min(limit, 1)
        self._study.sampler.build(self._study.rows, 0).after_trial(view, last, last.state, last.values)
        return 0 if view.stopped else min(limit, 1)

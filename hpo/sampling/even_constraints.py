"""A study as Optuna's Gaussian process can read it: it fails where complete trials differ in their constraints."""

from __future__ import annotations

from collections import Counter
from collections.abc import Container
from typing import Any

from optuna.trial import FrozenTrial, TrialState

from hpo.storage.study_cache import StudyCache

__all__ = ["EvenConstraints"]


class EvenConstraints:
    """The cache, in which a complete trial whose constraints are not the usual ones is left out.

    Plain Optuna, or an objective, may give a constraint to one trial alone.
    """

    def __init__(self, cache: StudyCache) -> None:
        self._cache = cache

    def __getattr__(self, name: str) -> Any:
        return getattr(self._cache, name)

    def get_all_trials(
        self, study_id: int, deepcopy: bool = True, states: Container[TrialState] | None = None
    ) -> list[FrozenTrial]:
        trials = self._cache.get_all_trials(study_id, deepcopy, states)
        complete = {
            trial.number: frozenset(trial.constraints) for trial in trials if trial.state is TrialState.COMPLETE
        }
        usual = Counter(complete.values()).most_common(1)
        return [trial for trial in trials if trial.number not in complete or complete[trial.number] == usual[0][0]]

"""No configuration twice: which ones a study has had, and what a new trial gets in place of one of them."""

from __future__ import annotations

import copy
import itertools
import random
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

import optuna
from optuna.samplers import BaseSampler, RandomSampler
from optuna.trial import FrozenTrial, Trial, TrialState

from hpo.sampling.distributions import suggest
from hpo.seeds import sampler_seed
from hpo.storage.optuna_internals import trial_id_of
from hpo.storage.optuna_schema import FIXED_PARAMS
from hpo.storage.study_cache import StudyCache
from hpo.study.parameters import Parameter
from hpo.study.samplers import BruteForce, Fixed, Grid
from hpo.study.space import Key, configuration_key
from hpo.study.study import Study

__all__ = ["Repeats"]

PROPOSALS, DRAWS = 10, 100
"""How often the sampler is asked again, and how many configurations are drawn evenly after that."""

MOST_LISTED = 10_000
"""A table with at most so many combinations is known to be tried out once all of them have been."""


class _Draft:
    """A study's storage in which a proposal leaves no parameter."""

    def __init__(self, storage: Any) -> None:
        self._storage = storage

    def __getattr__(self, name: str) -> Any:
        return getattr(self._storage, name)

    def get_trial(self, trial_id: int) -> FrozenTrial:
        trial: FrozenTrial = copy.copy(self._storage.get_trial(trial_id))
        trial.params, trial.distributions = {}, {}  # optuna.trial.Trial writes into these
        return trial

    def set_trial_param(self, *_: object) -> None:
        pass


class Repeats:
    """Knows every configuration that a trial of the study has or had, whatever became of the trial.

    Where no two proposals can be equal, because a row that is always searched has a continuous range, where the study
    says `repeat=True`, and where a grid or a brute force sees to it, it does nothing.
    """

    def __init__(self, study: Study, study_id: int, cache: StudyCache, storage: Any) -> None:
        self._study, self._study_id, self._cache, self._storage = study, study_id, cache, storage
        sampler = study.sampler
        self._fixed: Mapping[str, Any] = (
            study.rows.parameters(sampler.params, what="Fixed(...)", complete=False)
            if isinstance(sampler, Fixed) and study.rows.rows
            else {}
        )
        self.watches = not (study.repeat or isinstance(sampler, Grid | BruteForce)) and study.rows.may_repeat(
            self._fixed
        )
        self._listed = self._all() if self.watches else None
        self._finished: dict[int, Key] = {}
        self._tried: Counter[Key] = Counter()
        self._heard = 0
        self._said, self._note = False, ""

    def room(self, limit: int, under_way: int) -> int:
        """How many of `limit` new trials may begin where every combination is tried once; `under_way` of them have
        begun and have no parameters yet."""
        if self._listed is None:
            return limit
        tried = self._known()
        return min(limit, max(0, sum(key not in tried for key in self._listed) - under_way))

    def fresh(self, trial: FrozenTrial, sampler: Callable[[int], BaseSampler]) -> dict[str, Any] | None:
        """Parameters for a new trial that no other has had; None where whatever is proposed may stand.

        sampler: the trial's, when it is asked for the n-th time, from 0
        """
        if not self.watches or trial.params or trial.system_attrs.get(FIXED_PARAMS):
            return None  # it was begun before, or somebody asked for just this one
        tried = self._known(but=trial.number)
        proposed = self._proposed(trial, sampler(0))
        if configuration_key(proposed) not in tried:
            return proposed
        for again in range(1, PROPOSALS + 1):
            other = self._proposed(trial, sampler(again))
            if configuration_key(other) not in tried:
                return other
        seed = sampler_seed(self._study.seed, trial.number, PROPOSALS + 1)
        if self._listed is not None:
            left = [params for key, params in self._listed.items() if key not in tried]
            return random.Random(seed).choice(left) if left else proposed
        evenly: BaseSampler = RandomSampler(seed)
        if isinstance(self._study.sampler, Fixed):
            evenly = self._study.sampler.around(evenly, self._study.rows)
        for _ in range(DRAWS):
            other = self._proposed(trial, evenly)
            if configuration_key(other) not in tried:
                return other
        self._say(trial.number)
        return proposed

    def take_note(self) -> str:
        """What the user should know, once; "" if there is nothing."""
        note, self._note = self._note, ""
        return note

    def _say(self, number: int) -> None:
        if not self._said:
            self._said = True
            self._note = (
                f"trial {number} trains a configuration again: {PROPOSALS + 1} proposals of {self._study.sampler} and"
                f" {DRAWS} even draws were all tried before; a wider table, or fewer trials, repeats less"
            )

    def _proposed(self, trial: FrozenTrial, sampler: BaseSampler) -> dict[str, Any]:
        view = optuna.Study(study_name=self._study.name, storage=_Draft(self._storage), sampler=sampler)  # type: ignore[arg-type]
        asked = Trial(view, trial_id_of(trial))
        drawn: dict[str, Any] = {}

        def draw(name: str, row: Parameter) -> Any:
            drawn[name] = suggest(asked, name, row)
            return drawn[name]

        self._study.rows.sample(draw)
        return drawn

    def _known(self, but: int = -1) -> set[Key]:
        """Of every trial, also of those that run, wait or are in the queue; not of trial `but`."""
        changed, self._heard = self._cache.finished_since(self._heard)
        for trial in changed:
            before = self._finished.pop(trial.number, None)
            if before is not None:
                self._tried[before] -= 1
            if trial.state.is_finished():
                self._finished[trial.number] = key = configuration_key(trial.params)
                self._tried[key] += 1
        open_trials = self._cache.get_all_trials(
            self._study_id, deepcopy=False, states=(TrialState.RUNNING, TrialState.WAITING)
        )
        here = {configuration_key(_params(trial)) for trial in open_trials if trial.number != but}
        return {key for key, count in self._tried.items() if count} | here

    def _all(self) -> dict[Key, dict[str, Any]] | None:
        """Every combination of the table; None where they cannot be listed, or are too many."""
        rows = self._study.rows
        for row in rows.searched.values():
            values = row.values()
            if values is None or sum(1 for _ in itertools.islice(values, MOST_LISTED + 1)) > MOST_LISTED:
                return None
        found = list(itertools.islice(rows.combinations(), MOST_LISTED + 1))
        if len(found) > MOST_LISTED:
            return None
        fitting = [one for one in found if all(one.get(name, value) == value for name, value in self._fixed.items())]
        return {configuration_key(one): one for one in fitting}


def _params(trial: FrozenTrial) -> dict[str, Any]:
    fixed: Any = trial.system_attrs.get(FIXED_PARAMS, {})
    return {**(fixed if isinstance(fixed, Mapping) else {}), **trial.params}

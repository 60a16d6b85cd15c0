"""Which Optuna sampler proposes a trial: a new one for each, seeded by the trial's number."""

from __future__ import annotations

from typing import Any

import optuna
from optuna.samplers import BaseSampler
from optuna.search_space import IntersectionSearchSpace

from hpo.sampling.believed import believed
from hpo.sampling.cma_es import Evolution, TrialsCmaEs
from hpo.sampling.column_tpe import ColumnTPE
from hpo.sampling.even_constraints import EvenConstraints
from hpo.sampling.observations import TrialObservations
from hpo.sampling.rehearsal import rehearse
from hpo.seeds import sampler_seed
from hpo.storage.study_cache import StudyCache
from hpo.study.believing import Beliefs
from hpo.study.pruners import Hyperband
from hpo.study.samplers import GP, TPE, CmaEs, Fixed, Sampler
from hpo.study.study import Study

__all__ = ["Sampling"]


class Sampling:
    """Makes samplers for the trials of one study. Their proposals are bit for bit those of hpo.study.samplers, but for
    a share that follows what the user believes of the rows.

    TPE's are up to observations.MOST_OTHERS trials; beyond, it is shown a part of them.

    storage: the study in memory, as the sampler can read it
    note: a line for the user if ColumnTPE cannot work and Optuna's own sampler proposes; else ""
    """

    def __init__(self, study: Study, cache: StudyCache) -> None:
        self._study = study
        directions = cache.directions
        # With several objectives TPE ranks by fronts, and Hyperband shows a sampler only the trials of one bracket.
        stock = isinstance(study.sampler, TPE) and not study.sampler.arguments
        plain = stock and len(directions) == 1 and not isinstance(study.pruner, Hyperband)
        self.note = _note(rehearse()) if plain else ""
        self._columns = TrialObservations(cache, directions[0]) if plain and not self.note else None
        self._space = IntersectionSearchSpace(include_pruned=isinstance(study.sampler, TPE))
        self._evolution = Evolution()
        self._cache, self._beliefs = cache, Beliefs(study.rows)
        inner = study.sampler.sampler if isinstance(study.sampler, Fixed) else study.sampler
        self.storage: Any = EvenConstraints(cache) if isinstance(inner, GP) else cache

    def sampler(self, number: int, again: int = 0) -> BaseSampler:
        """A sampler for trial `number` alone; it knows the study as it is now. again: how often it was asked before."""
        declared, seed = self._study.sampler, sampler_seed(self._study.seed, number, again)
        inner = declared.sampler if isinstance(declared, Fixed) else declared
        found = believed(self._one(inner, seed), self._beliefs, self._study.seed, number, again)
        return declared.around(found, self._study.rows) if isinstance(declared, Fixed) else found

    def _one(self, declared: Sampler, seed: int) -> BaseSampler:
        if isinstance(declared, CmaEs):
            known = self._cache, self._evolution, self._space
            return TrialsCmaEs(*known, startup_trials=declared.startup_trials, seed=seed)
        if self._columns is None:
            return declared.build(self._study.rows, seed)
        assert isinstance(declared, TPE)
        return ColumnTPE(self._columns, self._space, startup_trials=declared.startup_trials, seed=seed)


def _note(reason: str) -> str:
    if not reason:
        return ""
    return (
        f"note: Optuna's own TPESampler proposes the trials, more slowly in a long study: hpo's does not work with"
        f" Optuna {optuna.__version__} ({reason})"
    )

"""How many trials are in each state, for the person watching: the database's count, and what happened here since."""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Iterable, Mapping

from optuna.trial import FrozenTrial, TrialState

from hpo.search.events import Counts
from hpo.storage.optuna_internals import trial_id_of
from hpo.storage.optuna_schema import STATES
from hpo.storage.study_cache import StudyCache

__all__ = ["LiveCounts"]

_UNFINISHED = (TrialState.RUNNING, TrialState.WAITING)


class LiveCounts:
    """The database counts every few seconds, of all hosts; a trial that ends here is in the cache at once.

    claimed: ids of trials that are this host's before the cache says so (AskTell.claimed)
    """

    def __init__(self, cache: StudyCache, study_id: int, claimed: Container[int]) -> None:
        self._cache, self._study_id, self._claimed = cache, study_id, claimed
        self._ended: dict[int, str] = {}
        self._by_state: Counter[str] = Counter()

    def update(self, changed: Iterable[FrozenTrial]) -> None:
        """Trials that ended, or were taken back, as StudyCache.finished_since gives them."""
        for trial in changed:
            before = self._ended.pop(trial.number, None)
            if before is not None:
                self._by_state[before] -= 1
            if trial.state.is_finished():
                self._ended[trial.number] = STATES[trial.state]
                self._by_state[STATES[trial.state]] += 1

    def counts(self, database: Counts, training: int) -> Mapping[str, int]:
        """Trials by state; `training` of them here. A trial held for the next free slot counts as waiting: it runs
        nowhere yet, although its lease makes it RUNNING in the database."""
        ended = self._by_state
        unfinished = self._cache.get_all_trials(self._study_id, deepcopy=False, states=_UNFINISHED)
        running = {trial_id_of(trial) for trial in unfinished if trial.state is TrialState.RUNNING}
        # In this order: the storage thread makes a claimed trial the cache's own before it forgets the claim.
        elsewhere = len({each for each in running if each not in self._claimed}.difference(self._cache.own_ids()))
        total = max(len(self._ended) + len(unfinished), sum(database.as_mapping().values()))
        # The larger one: a trial that ends elsewhere is in the database first, one that ends here in the cache.
        counts = {name: max(ended[name], getattr(database, name)) for name in ("complete", "pruned", "failed")}
        counts["running"] = training + min(elsewhere, database.running)
        counts["waiting"] = max(0, total - sum(counts.values()))
        return counts

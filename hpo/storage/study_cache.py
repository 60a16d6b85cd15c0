"""A study in memory, as an Optuna storage for samplers and pruners. It never talks to a database.

What samplers and pruners read comes from `apply` (trials that changed in the database); what they write changes memory
and is collected in a batch for the storage thread to save. Like Optuna's own in-memory storage, a changed trial is a
changed copy: a FrozenTrial handed out before stays as it was. Finished trials are kept small (finished_trial).
"""

from __future__ import annotations

import copy
from collections.abc import Container, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from optuna.distributions import BaseDistribution, check_distribution_compatibility
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from hpo.storage.changes import Horizon
from hpo.storage.claims import Claim
from hpo.storage.notes import Notes
from hpo.storage.optuna_internals import trial_id_of
from hpo.storage.single_study_storage import SingleStudyStorage
from hpo.storage.trial_table import TrialTable
from hpo.storage.write_batch import EpochRow, Requeue, TrialResult, WriteBatch

__all__ = ["StudyCache"]


class StudyCache(SingleStudyStorage):
    """One study. Every method may be called from any thread."""

    def __init__(
        self,
        study_id: int,
        name: str,
        directions: Sequence[StudyDirection],
        user_attrs: Mapping[str, Any] | None = None,
        system_attrs: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(study_id, name, directions, user_attrs, system_attrs)
        self._trials = TrialTable()
        self._distributions: dict[str, BaseDistribution] = {}
        self._own: set[int] = set()
        self._dropped: set[int] = set()  # no longer ours: the database is right about it
        self.notes = Notes(len(directions))
        self.horizon = Horizon()  # up to which `apply` was given what changed
        self.all_is_news = False  # whether other hosts want to know of reports and user attributes, too, as they come

    # The storage thread calls these.

    def apply(self, trials: Iterable[FrozenTrial]) -> list[int]:
        """Merge trials as the database has them; ids of own trials that others have finished meanwhile.

        An own trial (see `start`) keeps its state in memory, which may not be in the database yet.
        """
        taken = []
        with self._lock:
            for trial in trials:
                trial_id = trial_id_of(trial)
                if not self._believe(trial):
                    continue
                if trial_id in self._own:
                    taken.append(trial_id)
                    self._own.discard(trial_id)
                for name, distribution in trial.distributions.items():
                    self._distributions.setdefault(name, distribution)
                self._trials.put(trial)
        return taken

    def start(self, claim: Claim) -> None:
        """Take over a trial: from now on it is ours. Raises KeyError if it is not fresh and was never applied."""
        with self._lock:
            if claim.fresh and claim.trial_id not in self._trials:
                trial = _running(claim)
            else:
                trial = copy.copy(self._trials[claim.trial_id])
                trial.state = TrialState.RUNNING
                trial.datetime_start = claim.started or datetime.now()
            self._own.add(claim.trial_id)
            self._trials.put(trial)

    def report(self, epoch: EpochRow, values: Sequence[tuple[int, float]]) -> None:
        """An epoch of an own trial, with its (step, value) pairs for the pruner."""
        with self._lock:
            for step, value in values:
                self.set_trial_intermediate_value(epoch.trial_id, step, value)
            self._writes.epoch(epoch)

    def date(self, completed: Mapping[int, datetime | None]) -> None:
        """Set when trials told here ended, by the database's clock."""
        with self._lock:
            for trial_id, when in completed.items():
                trial = copy.copy(self._trials[trial_id])
                trial.datetime_complete = when
                self._trials.put(trial)

    def requeue(self, requeue: Requeue) -> None:
        """Release an own trial: WAITING here, and in the batch."""
        with self._lock:
            trial = copy.copy(self._trials[requeue.trial_id])
            trial.state = TrialState.WAITING
            self._trials.put(trial)
            self._own.discard(requeue.trial_id)
            self._writes.requeue(requeue)

    def drop(self, trial_id: int) -> None:
        """Give up a trial that `save` reported as lost: forget its unsaved writes and trust the database again."""
        with self._lock:
            self._dropped.add(trial_id)
            self._own.discard(trial_id)
            self._writes.drop([trial_id])

    def open_ids(self) -> list[int]:
        """Trials of others that were unfinished when last seen."""
        with self._lock:
            return sorted((self._trials.open - self._own) | self._dropped)

    def ids_to_read(self, changed: Iterable[int]) -> list[int]:
        """Of trials that have changed in the database, those that it knows better than we do, and others of which
        the same is true."""
        with self._lock:
            return sorted(self._dropped.union(changed) - self._own)

    def owns(self, trial_id: int) -> bool:
        with self._lock:
            return trial_id in self._own

    def own_ids(self) -> list[int]:
        with self._lock:
            return sorted(self._own)

    def take_writes(self) -> WriteBatch:
        """Everything written since the last call. On an outage, `merge` the next batch into it and try again."""
        with self._lock:
            taken, self._writes = self._writes, WriteBatch()
            told = taken.trial_ids() if self.all_is_news else {*taken.params, *taken.system_attrs, *taken.finishes}
            for trial_id in told - taken.requeues.keys():
                taken.note(trial_id, self.notes.written(self._trials[trial_id]))
            return taken

    def finished_since(self, heard: int) -> tuple[list[FrozenTrial], int]:
        """Trials that finished, or were taken back, since the call that returned `heard` (0: all); a new `heard`."""
        with self._lock:
            return self._trials.finished_since(heard)

    # Samplers and pruners read these.

    def get_all_trials(
        self, study_id: int, deepcopy: bool = True, states: Container[TrialState] | None = None
    ) -> list[FrozenTrial]:
        """By number. The list may be shared: it is never changed in place, here or by Optuna."""
        with self._lock:
            self._check_study(study_id)
            trials = self._trials.view(states)
        return copy.deepcopy(trials) if deepcopy else trials

    def get_trial(self, trial_id: int) -> FrozenTrial:
        with self._lock:
            return self._trials[trial_id]

    def get_trial_id_from_study_id_trial_number(self, study_id: int, trial_number: int) -> int:
        with self._lock:
            self._check_study(study_id)
            return self._trials.id_of(trial_number)

    def get_best_trial(self, study_id: int) -> FrozenTrial:
        if len(self._directions) > 1:
            raise RuntimeError("Best trial can be obtained only for single-objective optimization.")
        complete = self.get_all_trials(study_id, deepcopy=False, states=(TrialState.COMPLETE,))
        if not complete:
            raise ValueError("No trials are completed yet.")
        pick = max if self._directions[0] == StudyDirection.MAXIMIZE else min
        return pick(complete, key=lambda trial: trial.values[0])

    # Samplers, pruners and optuna.trial.Trial write with these.

    def set_trial_param(
        self, trial_id: int, param_name: str, param_value_internal: float, distribution: BaseDistribution
    ) -> None:
        with self._lock:
            trial = self._changeable(trial_id)
            self.check_distribution(param_name, distribution)
            self._distributions.setdefault(param_name, distribution)
            trial.params = {**trial.params, param_name: distribution.to_external_repr(param_value_internal)}
            trial.distributions = {**trial.distributions, param_name: distribution}
            self._trials.put(trial)
            self._writes.set_param(trial_id, param_name, param_value_internal, distribution)

    def check_distribution(self, param_name: str, distribution: BaseDistribution) -> None:
        """ValueError if no trial of the study can have it under this name, because of one that came before."""
        with self._lock:
            check_distribution_compatibility(self._distributions.get(param_name, distribution), distribution)

    def set_trial_intermediate_value(self, trial_id: int, step: int, intermediate_value: float) -> None:
        with self._lock:
            trial = self._changeable(trial_id)
            trial.intermediate_values = {**trial.intermediate_values, step: intermediate_value}
            self._trials.put(trial)
            self._writes.report(trial_id, step, intermediate_value)

    def set_trial_user_attr(self, trial_id: int, key: str, value: Any) -> None:
        with self._lock:
            trial = self._changeable(trial_id)
            trial.user_attrs = {**trial.user_attrs, key: value}
            self._trials.put(trial)
            self._writes.set_user_attr(trial_id, key, value)

    def set_trial_system_attr(self, trial_id: int, key: str, value: Any) -> None:
        with self._lock:
            trial = self._changeable(trial_id)
            trial.system_attrs = {**trial.system_attrs, key: value}
            self._trials.put(trial)
            self._writes.set_system_attr(trial_id, key, value)

    def set_trial_state_values(self, trial_id: int, state: TrialState, values: Sequence[float] | None = None) -> bool:
        """Finish a trial. False for any other state: `start` begins trials, and `requeue` releases them."""
        with self._lock:
            trial = self._changeable(trial_id)
            if not state.is_finished():
                return False
            trial.state = state
            trial.datetime_complete = datetime.now()
            if values is not None:
                trial.values = list(values)
            self._trials.put(trial)
            self._own.discard(trial_id)
            self._writes.finish(TrialResult(trial_id, state, None if values is None else tuple(values)))
            return True

    def _believe(self, trial: FrozenTrial) -> bool:
        """False for news older than memory: about a trial told here and not saved yet, or one that we run."""
        trial_id = trial_id_of(trial)
        if trial.state.is_finished() or trial_id in self._dropped:
            self._dropped.discard(trial_id)
            return True
        told = trial_id in self._trials and self._trials[trial_id].state.is_finished()
        return not told and trial_id not in self._own

    def _changeable(self, trial_id: int) -> FrozenTrial:
        """A copy to change. UpdateFinishedTrialError for a finished trial, as Optuna's storages raise it."""
        trial = self.get_trial(trial_id)
        self.check_trial_is_updatable(trial_id, trial.state)
        return copy.copy(trial)


def _running(claim: Claim) -> FrozenTrial:
    return FrozenTrial(
        number=claim.number,
        state=TrialState.RUNNING,
        value=None,
        datetime_start=claim.started or datetime.now(),
        datetime_complete=None,
        params={},
        distributions={},
        user_attrs={},
        system_attrs={},
        intermediate_values={},
        trial_id=claim.trial_id,
    )

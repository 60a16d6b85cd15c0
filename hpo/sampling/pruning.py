"""Percentile and median pruning without walking through every trial at every report: Optuna's decisions, kept ready."""

from __future__ import annotations

import math
from array import array

import numpy as np
from numpy.typing import NDArray
from optuna.pruners import BasePruner
from optuna.study import Study as OptunaStudy
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from hpo.sampling.racing import Racing
from hpo.storage.study_cache import StudyCache
from hpo.storage.trial_record import record_of
from hpo.study.pruners import PercentilePruner
from hpo.study.study import Study

__all__ = ["make_pruner"]


def make_pruner(study: Study, cache: StudyCache, workers: int) -> BasePruner:
    """The pruner of a study, for the loop's thread only."""
    declared, pruner = study.pruner, study.pruner.build(study.epochs, workers)
    if isinstance(declared, PercentilePruner):
        lengths = study.epochs if "epochs" in study.rows.searched and not study.brings_training else None
        pruner = _Cutoffs(declared, cache, workers, lengths)
    return Racing(study.seeds, pruner, cache) if study.seeds else pruner


class _Cutoffs(BasePruner):
    """optuna.pruners.PercentilePruner with the percentile of each epoch computed once per completed trial.

    most_epochs: where trials have a length of their own, the longest. Each is then compared with those alone that are
                 at least as long: at the same epoch the learning rate of a shorter one has fallen further, and it is
                 ahead without being better
    """

    def __init__(
        self, declared: PercentilePruner, cache: StudyCache, workers: int, most_epochs: int | None = None
    ) -> None:
        self._most_epochs = most_epochs
        self._declared = declared
        self._cache = cache
        self._startup_trials = declared.enough_trials(workers)
        self._maximize = cache.directions[0] == StudyDirection.MAXIMIZE
        self._heard = 0
        self._forget()

    def prune(self, study: OptunaStudy, trial: FrozenTrial) -> bool:
        """Whether `trial`, by its best report so far, is below the cut-off of its last step."""
        self._refresh()
        step = trial.last_step
        if not self._completed or len(self._completed) < self._startup_trials or step is None:
            return False
        if step < self._declared.first_step or not self._due(step, trial):
            return False
        reports = [value for value in trial.intermediate_values.values() if not math.isnan(value)]
        if not reports:
            return True
        cutoff = self._cutoff(step, self._length(trial))
        return max(reports) < cutoff if self._maximize else min(reports) > cutoff  # False where it is NaN

    def _due(self, step: int, trial: FrozenTrial) -> bool:
        """The first report since the last multiple of `interval` after the warm-up."""
        first, interval = self._declared.first_step, self._declared.interval
        before = max((other for other in trial.intermediate_values if other != step), default=-1)
        return before < (step - first) // interval * interval + first

    def _cutoff(self, step: int, length: int) -> float:
        ready = self._cutoffs.setdefault(step, {})
        if length not in ready:
            values = self._reports[step].values if step in self._reports else np.empty(0)
            if self._most_epochs is not None and step in self._reports:
                values = values[self._lengths[step].values >= length]
            known = len(values) >= self._declared.min_trials and not np.isnan(values).all()
            share = 100 - self._declared.percentile if self._maximize else self._declared.percentile
            ready[length] = float(np.nanpercentile(values, share)) if known else math.nan
        return ready[length]

    def _length(self, trial: FrozenTrial) -> int:
        return 0 if self._most_epochs is None else int(trial.params.get("epochs", self._most_epochs))

    def _refresh(self) -> None:
        changed, self._heard = self._cache.finished_since(self._heard)
        if any(self._differs(trial) for trial in changed):
            self._forget()  # the database took a trial back, which is rare
            changed, self._heard = self._cache.finished_since(0)
        for trial in changed:
            if trial.state == TrialState.COMPLETE and trial.number not in self._completed and not _was_shorter(trial):
                reports = trial.intermediate_values
                self._completed[trial.number] = _digest(reports)
                for step, value in reports.items():
                    self._reports.setdefault(step, _Growing()).append(value)
                    self._lengths.setdefault(step, _Growing()).append(self._length(trial))
                    self._cutoffs.pop(step, None)

    def _differs(self, trial: FrozenTrial) -> bool:
        """Whether a trial was complete with different reports from now."""
        before = self._completed.get(trial.number)
        if before is None:
            return False
        return trial.state != TrialState.COMPLETE or _digest(trial.intermediate_values) != before

    def _forget(self) -> None:
        self._heard = 0
        self._completed: dict[int, int] = {}  # digest of the reports by trial number
        self._reports: dict[int, _Growing] = {}  # of completed trials, by step
        self._lengths: dict[int, _Growing] = {}  # of the same trials: epochs
        self._cutoffs: dict[int, dict[int, float]] = {}  # by step and length


def _was_shorter(trial: FrozenTrial) -> bool:
    """Whether it trained under a table with fewer epochs: its learning rate had fallen where that of others is high."""
    return "planned_epochs" in record_of(trial)


def _digest(reports: dict[int, float]) -> int:
    """The same for the same reports; NaN equals NaN here."""
    return hash(array("d", [number for report in reports.items() for number in report]).tobytes())


class _Growing:
    """Numbers, appended one by one and read as one array."""

    def __init__(self) -> None:
        self._all = np.empty(64)
        self._count = 0

    def append(self, value: float) -> None:
        if self._count == len(self._all):
            self._all = np.concatenate([self._all, np.empty(self._count)])
        self._all[self._count] = value
        self._count += 1

    @property
    def values(self) -> NDArray[np.float64]:
        return self._all[: self._count]

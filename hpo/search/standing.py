"""Where the trials of a study stand, as hpo.freeze_thaw wants to know it, from the study in memory."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from optuna.trial import FrozenTrial, TrialState

from hpo.freeze_thaw.progress import Progress
from hpo.storage.optuna_internals import constraint_key
from hpo.storage.optuna_schema import FIXED_PARAMS
from hpo.storage.study_cache import StudyCache
from hpo.storage.trial_record import TrialRecord, decisions_of, record_of

__all__ = ["Standing"]

UNFINISHED = (TrialState.RUNNING, TrialState.WAITING)
_CONSTRAINED = constraint_key("")


class Standing:
    """Reads each trial once for each change: a study may have ten thousand, and finished ones are packed away."""

    def __init__(self, cache: StudyCache, study_id: int, epochs: int, *, baseline_first: bool) -> None:
        self._cache, self._study_id, self._epochs, self._baseline_first = cache, study_id, epochs, baseline_first
        self._finished: dict[int, Progress] = {}
        self._open: dict[int, tuple[FrozenTrial, Progress]] = {}  # by number; a trial that changes is another object
        self._heard = 0

    def trials(self, until: Mapping[int, int]) -> list[Progress]:
        """Every trial, by number. until: up to which epoch those train that this host has given out, by number."""
        changed, self._heard = self._cache.finished_since(self._heard)
        for trial in changed:
            self._finished.pop(trial.number, None)
            if trial.state.is_finished():
                self._finished[trial.number] = self._progress(trial)
        found, seen, self._open = dict(self._finished), self._open, {}
        for trial in self.unfinished():
            known, progress = seen.get(trial.number, (None, None))
            if progress is None or known is not trial:
                progress = self._progress(trial)
            self._open[trial.number] = trial, progress
            if trial.state is TrialState.RUNNING:
                last = until.get(trial.number) or next(iter(decisions_of(trial)[::-1]), {}).get("until", 0)
                progress = replace(progress, until=max(last, len(progress.values) + 1))
            found[trial.number] = progress
        return [found[number] for number in sorted(found)]

    def unfinished(self) -> list[FrozenTrial]:
        return self._cache.get_all_trials(self._study_id, deepcopy=False, states=UNFINISHED)

    def waiting(self) -> list[FrozenTrial]:
        return [trial for trial in self.unfinished() if trial.state is TrialState.WAITING]

    def _progress(self, trial: FrozenTrial) -> Progress:
        record = record_of(trial)
        fixed: Any = trial.system_attrs.get(FIXED_PARAMS, {})
        return Progress(
            trial.number,
            {**(fixed if isinstance(fixed, Mapping) else {}), **trial.params},
            self._values(trial),
            _epoch_seconds(record),
            ended=trial.state.is_finished(),
            infeasible=any(
                key.startswith(_CONSTRAINED) and isinstance(value, int | float) and value > 0
                for key, value in trial.system_attrs.items()
            ),
            whole=self._baseline_first and trial.number == 0,
        )

    def _values(self, trial: FrozenTrial) -> tuple[float, ...]:
        """The objective after each epoch; one that reported nothing in an epoch had what it had before."""
        reports = {step: value for step, value in trial.intermediate_values.items() if 1 <= step <= self._epochs}
        if not reports:
            known = trial.state is TrialState.COMPLETE and trial.values
            return (trial.values[0],) * self._epochs if known and trial.values else ()
        values, last = [], reports[min(reports)]
        for epoch in range(1, max(reports) + 1):
            last = reports.get(epoch, last)
            values.append(last)
        return tuple(values)


def _epoch_seconds(record: TrialRecord) -> float:
    """What an epoch of the trial took on average; NaN where nobody noted it."""
    if "epoch_seconds" in record:
        return record["epoch_seconds"]
    seconds = record.get("train_seconds", math.nan) + record.get("eval_seconds", 0.0)
    return seconds / record["epochs"] if record.get("epochs", 0) > 0 else math.nan

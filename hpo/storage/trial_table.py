"""Trials in memory, by number, so that asking for those in some states stays cheap, however many there are."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Container

from optuna.trial import FrozenTrial, TrialState

from hpo.storage.finished_trial import FinishedTrial, SharedParts
from hpo.storage.optuna_internals import trial_id_of

__all__ = ["TrialTable"]


class TrialTable:
    """Not thread-safe. A finished trial stays finished unless `put` says otherwise."""

    def __init__(self) -> None:
        self.open: set[int] = set()
        self._parts = SharedParts()
        self._trials: dict[int, FrozenTrial] = {}
        self._ids: dict[int, int] = {}  # by number
        self._finished: list[FrozenTrial] = []  # by number
        self._log: list[int] = []  # numbers, each time their finished trial came, changed or went
        self._views: dict[frozenset[TrialState], list[FrozenTrial]] = {}  # of finished trials, until one more finishes

    def __contains__(self, trial_id: object) -> bool:
        return trial_id in self._trials

    def __getitem__(self, trial_id: int) -> FrozenTrial:
        try:
            return self._trials[trial_id]
        except KeyError:
            raise KeyError(f"No trial with trial_id {trial_id} exists.") from None

    def id_of(self, number: int) -> int:
        try:
            return self._ids[number]
        except KeyError:
            raise KeyError(f"No trial with trial number {number} exists.") from None

    def put(self, trial: FrozenTrial) -> None:
        """Add a trial, or replace what was known about it."""
        if trial.state.is_finished() and not isinstance(trial, FinishedTrial):
            trial = FinishedTrial(trial, self._parts)
        trial_id = trial_id_of(trial)
        before = self._trials.get(trial_id)
        other = self._ids.get(trial.number)
        if other is not None and other < trial_id and other in self.open and not self._trials[other].params:
            # Read inside a transaction whose commit then failed: the number was given away again.
            self.open.discard(other)
            del self._trials[other]
        self._trials[trial_id] = trial
        if other is None or other < trial_id:  # of two with one number, which somebody else wrote, the later counts
            self._ids[trial.number] = trial_id
        if before is not None and before.state.is_finished():
            self._forget(before)
            self._views.clear()
            self._log.append(trial.number)
        if trial.state.is_finished():
            if not self._finished or self._finished[-1].number < trial.number:
                self._finished.append(trial)  # as nearly always, when a study is opened
            else:
                insort(self._finished, trial, key=_number)
            self._extend_views(trial)
            self._log.append(trial.number)
            self.open.discard(trial_id)
        else:
            self.open.add(trial_id)

    def finished_since(self, heard: int) -> tuple[list[FrozenTrial], int]:
        """Trials that finished (or that the database took back) after the first `heard` entries of the log, once each,
        as they stand now; and the length of the log."""
        numbers = dict.fromkeys(self._log[heard:])
        return [self._trials[self._ids[number]] for number in numbers], len(self._log)

    def view(self, states: Container[TrialState] | None) -> list[FrozenTrial]:
        """Those in `states`, by number. The list is shared with later calls: it must not be changed."""
        wanted = frozenset(state for state in TrialState if states is None or state in states)
        finished = self._views.get(wanted)
        if finished is None:
            some = any(state.is_finished() for state in wanted)
            finished = [trial for trial in self._finished if trial.state in wanted] if some else []
            self._views[wanted] = finished
        unfinished = [self._trials[each] for each in self.open if self._trials[each].state in wanted]
        if not unfinished:
            return finished
        trials = finished.copy()
        for trial in unfinished:
            insort(trials, trial, key=_number)
        return trials

    def _forget(self, finished: FrozenTrial) -> None:
        """Take it out of the finished ones, itself and not another that somebody gave its number."""
        place = bisect_left(self._finished, finished.number, key=_number)
        while self._finished[place] is not finished:
            place += 1
        del self._finished[place]

    def _extend_views(self, trial: FrozenTrial) -> None:
        """By a trial that has just finished: to a copy, because the lists are shared."""
        for states, view in self._views.items():
            if trial.state in states:
                longer = view.copy()
                insort(longer, trial, key=_number)
                self._views[states] = longer


def _number(trial: FrozenTrial) -> int:
    return trial.number

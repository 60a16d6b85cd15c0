"""The finished trials of a study as arrays, for samplers that would otherwise walk through every trial for every value.

A trial costs time once, when it finishes; asking takes a few array operations, however many trials there are.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right, insort
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from hpo.storage.study_cache import StudyCache

__all__ = ["MOST_OTHERS", "TrialObservations"]

Observations = dict[str, NDArray[np.float64]]
Rank = tuple[tuple[float, ...], int]


MOST_OTHERS = 30_000
"""Trials that TPE's estimate of where not to look is made of. With a million, a proposal would take seconds and
gigabytes. What a search finds with a part of them is measured by benchmarks.bounded_tpe."""

_MANY = 100
"""Trials at once that are sorted in: one by one, each moves half of the others, and a million would take minutes."""


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a trial ranks: `kind` 0 complete, 1 pruned, 2 infeasible; `rank` its key in that kind, then its number."""

    kind: int
    rank: Rank


class TrialObservations:
    """One value per trial and parameter, in Optuna's internal representation, NaN where a trial lacks the parameter.

    It also keeps the order in which TPE prefers trials: complete ones by value, then pruned ones by how far they came,
    then those that violate a constraint. For a single objective only. Not thread-safe.
    """

    def __init__(self, study: StudyCache, direction: StudyDirection, most_others: int = MOST_OTHERS) -> None:
        self.study = study
        self._most_others = most_others
        self._sign = 1.0 if direction == StudyDirection.MINIMIZE else -1.0
        self._heard = 0
        self._rows: dict[int, int] = {}  # by trial number, in the order in which trials came: numbers may have gaps
        self._numbers = np.zeros(256, dtype=np.int64)  # by row
        self._kept = np.zeros(256, dtype=bool)  # by row: complete or pruned
        self._values: dict[str, NDArray[np.float64]] = {}
        self._places: dict[int, _Place] = {}
        self._ranked: tuple[list[Rank], list[Rank], list[Rank]] = ([], [], [])

    def __len__(self) -> int:
        """Complete and pruned trials."""
        return len(self._places)

    def refresh(self) -> None:
        """Take in the trials that finished since the last call."""
        changed, self._heard = self.study.finished_since(self._heard)
        places = []
        for trial in changed:
            self._remove(trial.number)
            if trial.state in (TrialState.COMPLETE, TrialState.PRUNED):
                places.append(self._add(trial))
        self._rank(places)

    def split(
        self, names: Sequence[str], n_below: int, running: Mapping[int, Mapping[str, float]]
    ) -> tuple[Observations, Observations]:
        """Observations of the `n_below` best trials, and of the others, each by trial number.

        Only trials with every one of `names` count, and of more others than `most_others` so many at equal distances.
        running: unfinished trials with all of `names`, as internal values by number; they belong to the others.
        """
        best = self._best(n_below)
        others = self._kept.copy()
        others[[self._rows[number] for number in best]] = False
        for name in names:
            if name not in self._values:
                self._values[name] = np.full(len(self._kept), np.nan)
            others &= ~np.isnan(self._values[name])
        below = self._observations(names, np.asarray([self._rows[number] for number in sorted(best)], dtype=np.intp))
        rows = np.flatnonzero(others)
        rows = rows[np.argsort(self._numbers[rows], kind="stable")]
        above = self._observations(names, _evenly(rows, self._most_others), running)
        return below, above

    def _observations(
        self, names: Sequence[str], rows: NDArray[np.intp], running: Mapping[int, Mapping[str, float]] | None = None
    ) -> Observations:
        found = {name: self._values[name][rows] for name in names}
        complete = ~np.isnan([found[name] for name in names]).any(axis=0)
        if not complete.all():
            rows = rows[complete]
            found = {name: values[complete] for name, values in found.items()}
        if not running:
            return found
        order = np.argsort(np.concatenate([self._numbers[rows], list(running)]), kind="stable")
        return {
            name: np.concatenate([found[name], [params[name] for params in running.values()]])[order] for name in names
        }

    def _best(self, count: int) -> list[int]:
        numbers: list[int] = []
        for ranked in self._ranked:
            numbers += [number for _, number in ranked[: max(0, count - len(numbers))]]
        return numbers

    def _rank(self, places: Sequence[_Place]) -> None:
        if len(places) < _MANY:
            for place in places:
                insort(self._ranked[place.kind], place.rank)
            return
        for place in places:
            self._ranked[place.kind].append(place.rank)
        for ranked in self._ranked:
            ranked.sort()

    def _add(self, trial: FrozenTrial) -> _Place:
        number = trial.number
        row = self._rows.setdefault(number, len(self._rows))
        self._grow(row + 1)
        self._numbers[row], self._kept[row] = number, True
        params = trial.params
        for name, distribution in trial.distributions.items():
            if name not in self._values:
                self._values[name] = np.full(len(self._kept), np.nan)
            self._values[name][row] = distribution.to_internal_repr(params[name])
        place = self._place(trial)
        self._places[number] = place
        return place

    def _remove(self, number: int) -> None:
        place = self._places.pop(number, None)
        if place is None:
            return
        ranked = self._ranked[place.kind]
        del ranked[bisect_left(ranked, place.rank) : bisect_right(ranked, place.rank)]
        row = self._rows[number]
        self._kept[row] = False
        for values in self._values.values():
            values[row] = np.nan

    def _place(self, trial: FrozenTrial) -> _Place:
        """As TPE sorts: stable, so that of equals the earlier trial comes first."""
        violation = sum(value for value in trial.constraints.values() if value > 0)
        if violation > 0:
            return _Place(2, ((violation,), trial.number))
        if trial.state == TrialState.COMPLETE:
            assert trial.values is not None
            return _Place(0, ((self._sign * trial.values[0],), trial.number))
        reports = trial.intermediate_values
        if not reports:
            return _Place(1, ((1.0, 0.0), trial.number))
        step, value = max(reports.items())
        return _Place(1, ((float(-step), math.inf if math.isnan(value) else self._sign * value), trial.number))

    def _grow(self, needed: int) -> None:
        size = len(self._kept)
        if needed <= size:
            return
        more = max(needed, 2 * size) - size
        self._kept = np.concatenate([self._kept, np.zeros(more, dtype=bool)])
        self._numbers = np.concatenate([self._numbers, np.zeros(more, dtype=np.int64)])
        for name, values in self._values.items():
            self._values[name] = np.concatenate([values, np.full(more, np.nan)])


def _evenly(rows: NDArray[np.intp], most: int) -> NDArray[np.intp]:
    """All of `rows`, or `most` of them at equal distances, the last among them."""
    if len(rows) <= most:
        return rows
    return rows[(np.arange(1, most + 1) * len(rows)) // most - 1]

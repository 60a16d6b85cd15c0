"""CMA-ES whose state is rebuilt from the study's trials: Optuna's keeps a pickle in the database, and runs whatever is
there.

Its proposals are those of Optuna's CmaEsSampler on the same history. It needs only two things of a trial: its values,
and the generation in which it was drawn, an integer that Optuna records too.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterable
from datetime import datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray
from optuna.distributions import BaseDistribution, FloatDistribution, IntDistribution
from optuna.samplers import BaseSampler, RandomSampler
from optuna.search_space import IntersectionSearchSpace
from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial, TrialState

from hpo.storage.finished_trial import system_attribute
from hpo.storage.optuna_internals import trial_id_of
from hpo.storage.study_cache import StudyCache

__all__ = ["Evolution", "TrialsCmaEs"]

GENERATION = "cma:generation"
"""The system attribute under which Optuna keeps a trial's generation."""

Vector = NDArray[np.float64]
Space = dict[str, BaseDistribution]


class TrialsCmaEs(BaseSampler):
    """For one trial. `evolution` and `space` are kept between trials; the rest is made from the seed each time."""

    def __init__(
        self,
        cache: StudyCache,
        evolution: Evolution,
        space: IntersectionSearchSpace,
        *,
        startup_trials: int,
        seed: int,
    ) -> None:
        self._cache = cache
        self._evolution = evolution
        self._space = space
        self._startup_trials = startup_trials
        self._random = RandomSampler(seed=seed)
        self._numbers = np.random.RandomState(seed)

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> Space:
        shared = self._space.calculate(study)
        numeric = (FloatDistribution, IntDistribution)
        return {name: kind for name, kind in shared.items() if isinstance(kind, numeric) and not kind.single()}

    def sample_relative(self, study: Study, trial: FrozenTrial, search_space: Space) -> dict[str, Any]:
        complete = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
        if not search_space or len(complete) < self._startup_trials:
            return {}
        drawn = self._evolution.drawn
        drawn.refresh(self._cache)
        optimizer, cube = self._evolution.after(drawn, search_space, study.direction)
        if not drawn.generations - {0}:
            self._numbers.randint(1, 2**31 - 2)  # Optuna's draws a seed for the optimizer that it makes
        optimizer.reseed_rng(self._numbers.randint(1, 2**16) + trial.number)
        params = cube.values_at(optimizer.ask())
        self._cache.set_trial_system_attr(trial_id_of(trial), GENERATION, optimizer.generation)
        return params

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        return self._random.sample_independent(study, trial, param_name, param_distribution)


class Drawn:
    """The complete trials of a study by the generation that they were drawn in. Not thread-safe.

    A trial costs something once, when it finishes: a proposal walks through no trials.
    """

    def __init__(self) -> None:
        self._heard = 0
        self._trials: dict[int, dict[int, FrozenTrial]] = {}  # by generation and number
        self._generation_of: dict[int, int] = {}  # by number
        self._first: dict[int, tuple[FrozenTrial, ...]] = {}  # by generation, as `first` gave them

    @property
    def generations(self) -> set[int]:
        return set(self._trials)

    def refresh(self, cache: StudyCache) -> None:
        """Take in what finished since the last time."""
        changed, self._heard = cache.finished_since(self._heard)
        self.take(changed)

    def take(self, trials: Iterable[FrozenTrial]) -> None:
        for trial in trials:
            self._remove(trial.number)
            generation = _generation(trial)
            if generation is not None and trial.state == TrialState.COMPLETE:
                self._generation_of[trial.number] = generation
                self._trials.setdefault(generation, {})[trial.number] = trial
                self._first.pop(generation, None)

    def first(self, generation: int, size: int) -> tuple[FrozenTrial, ...]:
        """The `size` trials of `generation` that ended first, by number; () while it has fewer."""
        trials = self._trials.get(generation, {})
        if len(trials) < size:
            return ()
        found = self._first.get(generation, ())
        if len(found) != size:
            found = tuple(sorted(sorted(trials.values(), key=_ended)[:size], key=lambda trial: trial.number))
            self._first[generation] = found
        return found

    def _remove(self, number: int) -> None:
        generation = self._generation_of.pop(number, None)
        if generation is not None:
            del self._trials[generation][number]
            if not self._trials[generation]:
                del self._trials[generation]
            self._first.pop(generation, None)


class Evolution:
    """The distribution that CMA-ES has come to, told of one generation after the other. Not thread-safe.

    drawn: the trials it goes by
    """

    def __init__(self) -> None:
        self.drawn = Drawn()
        self._space: Space = {}
        self._told: list[tuple[int, ...]] = []  # by generation: numbers of its trials
        # As the last generation left it; and the same as Optuna would find it again, in whose pickle the covariance
        # is one triangle of a matrix that rounding has made a little unsymmetric.
        self._fresh: Any = None
        self._restored: Any = None

    def after(self, drawn: Drawn, space: Space, direction: StudyDirection) -> tuple[Any, UnitCube]:
        """(the optimizer that has been told of `drawn`, the cube in which it thinks).

        A generation has a fixed number of trials: those that ended first. They are rows of `space`.
        """
        cube = UnitCube(space)
        if self._fresh is None or space != self._space:
            self._begin(space)
        size = self._fresh.population_size
        generations: list[tuple[FrozenTrial, ...]] = []
        while trials := drawn.first(len(generations), size):
            generations.append(trials)
        numbers = [tuple(trial.number for trial in trials) for trials in generations]
        if numbers[: len(self._told)] != self._told:  # another host's trial ended earlier than those we knew of
            self._begin(space)
        sign = 1.0 if direction == StudyDirection.MINIMIZE else -1.0
        for trials in generations[len(self._told) :]:
            self._fresh = self._restored
            self._fresh.tell([(cube.point(trial.params), sign * trial.values[0]) for trial in trials])
            self._restored = copy.deepcopy(self._fresh)
        self._told = numbers
        return self._restored if len(numbers) in drawn.generations else self._fresh, cube

    def _begin(self, space: Space) -> None:
        import cmaes

        dimensions = len(space)
        self._space, self._told = dict(space), []
        self._fresh = self._restored = cmaes.CMA(
            mean=np.full(dimensions, 0.5),
            sigma=1.0 / 6.0,
            bounds=np.tile([0.0, 1.0], (dimensions, 1)),
            n_max_resampling=10 * dimensions,
            seed=0,  # every proposal brings its own
        )


class UnitCube:
    """Numbers of a space as points in [0, 1]^n, placed as Optuna's CMA-ES does: integers in the middle of a step,
    logarithmic rows by their logarithm."""

    def __init__(self, space: Space) -> None:
        self._space = space
        bounds = np.array([_bounds(kind) for kind in space.values()])
        self._low, self._width = bounds[:, 0], bounds[:, 1] - bounds[:, 0]

    def point(self, params: dict[str, Any]) -> Vector:
        raw = [math.log(params[name]) if kind.log else params[name] for name, kind in self._kinds()]
        point: Vector = (np.array(raw, dtype=np.float64) - self._low) / self._width
        return point

    def values_at(self, point: Vector) -> dict[str, Any]:
        raw = self._low + point * self._width
        return {name: _value(kind, float(place)) for (name, kind), place in zip(self._kinds(), raw, strict=True)}

    def _kinds(self) -> list[tuple[str, Any]]:
        return list(self._space.items())


def _bounds(kind: Any) -> tuple[float, float]:
    half = 0.5 * kind.step if kind.step is not None and not (isinstance(kind, FloatDistribution) and kind.log) else 0.0
    low, high = kind.low - half, kind.high + half
    return (math.log(low), math.log(high)) if kind.log else (low, high)


def _value(kind: Any, place: float) -> int | float:
    """The value of a row that lies at `place`; the ends of a continuous one are open, as Optuna has them."""
    if isinstance(kind, IntDistribution):
        if kind.log:
            whole = round(math.exp(place))
        else:
            whole = math.floor((place - kind.low) / kind.step + 0.5) * kind.step + kind.low
        return min(max(whole, kind.low), kind.high)
    if kind.step is not None:
        return float(np.clip(np.round((place - kind.low) / kind.step) * kind.step + kind.low, kind.low, kind.high))
    below = float(np.nextafter(kind.high, kind.high - 1))
    return float(np.clip(math.exp(place), kind.low, below)) if kind.log else min(place, below)


def _generation(trial: FrozenTrial) -> int | None:
    value = system_attribute(trial, GENERATION)
    return value if type(value) is int else None


def _ended(trial: FrozenTrial) -> tuple[bool, datetime, int]:
    return trial.datetime_complete is None, trial.datetime_complete or datetime.min, trial.number

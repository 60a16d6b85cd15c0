"""How far two trainings of one configuration differ, from what the trials of a study reported."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from optuna.trial import FrozenTrial, TrialState

from hpo.study.space import configuration_key

__all__ = ["SeedNoise", "noise_between_repeats", "noise_within_trials", "values_of_seeds"]


@dataclass(frozen=True)
class SeedNoise:
    """deviation: the standard deviation of one training's value, over `freedom` differences between trainings"""

    deviation: float
    freedom: int


def values_of_seeds(reports: Mapping[int, float]) -> list[float]:
    """The value of each seed, from the means after 1, 2, ... seeds; [] where one is missing or not finite."""
    means = [reports.get(count, math.nan) for count in range(1, len(reports) + 1)]
    if not all(map(math.isfinite, means)):
        return []
    return [count * mean - (count - 1) * before for count, (mean, before) in
            enumerate(zip(means, [0.0, *means], strict=False), 1)]  # fmt: skip


def noise_within_trials(trials: Iterable[FrozenTrial]) -> SeedNoise | None:
    """Where each trial trains with several seeds (`seeds=`); None while none has trained with two."""
    return _pooled([values_of_seeds(trial.intermediate_values) for trial in trials])


def noise_between_repeats(trials: Iterable[FrozenTrial]) -> SeedNoise | None:
    """Where a configuration was trained in several trials; None where none was, or there is nothing to compare.

    Complete trials are compared by their values, others by what they reported after as many epochs.
    """
    groups = defaultdict(list)
    for trial in trials:
        if trial.params:
            groups[configuration_key(trial.params)].append(trial)
    return _pooled([_comparable(group) for group in groups.values() if len(group) > 1])


def _comparable(group: Sequence[FrozenTrial]) -> list[float]:
    complete = [trial.values[0] for trial in group if trial.state is TrialState.COMPLETE and trial.values]
    if len(complete) > 1:
        return [value for value in complete if math.isfinite(value)]
    reported = [trial.intermediate_values for trial in group if trial.intermediate_values]
    steps = set.intersection(*(set(reports) for reports in reported)) if len(reported) > 1 else set()
    return [value for reports in reported for value in [reports[max(steps)]] if math.isfinite(value)] if steps else []


def _pooled(groups: Iterable[Sequence[float]]) -> SeedNoise | None:
    squares, freedom = 0.0, 0
    for values in groups:
        if len(values) > 1:
            middle = fmean(values)
            squares += sum((value - middle) ** 2 for value in values)
            freedom += len(values) - 1
    return SeedNoise(math.sqrt(squares / freedom), freedom) if freedom else None

"""What the trials of a study say about each parameter: its values, and how good each trial was beside the others."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean
from typing import Any

from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import FrozenTrial, TrialState

from hpo.results.best import eligible
from hpo.results.parameter_ranges import searched_ranges
from hpo.storage.trial_record import record_of
from hpo.wording import value_text

__all__ = ["Series", "quality", "series_of"]


@dataclass(frozen=True)
class Series:
    """One parameter, or the mean over layers of one that each layer has.

    values: by number of the trial; a category is its text
    low, high: the range that was searched; 0 and 0 of categories
    """

    name: str
    numeric: bool
    whole: bool = False
    log: bool = False
    low: float = 0.0
    high: float = 0.0
    values: Mapping[int, Any] = field(default_factory=dict)

    def place(self, value: float) -> float:
        """Where in the searched range, from 0 to 1, on the scale that it was searched on."""
        low, high, here = (math.log(each) for each in (self.low, self.high, value)) if self.log else (
            self.low, self.high, value)  # fmt: skip
        return min(1.0, max(0.0, (here - low) / (high - low))) if high > low else 0.5


def quality(trials: Sequence[FrozenTrial], direction: str) -> dict[int, tuple[float, ...]]:
    """How good each finished trial was, larger is better, by the first objective. Failed ones say nothing.

    The order is that of Optuna's TPE: complete trials by their value, then pruned ones, by the step they reached and by
    their value there; last those that broke a constraint, diverged or ran out of memory.
    """
    sign = 1.0 if direction == "maximize" else -1.0
    counted = {id(trial) for trial in eligible(trials)}  # not by number, which somebody may have given to two
    found: dict[int, tuple[float, ...]] = {}
    for trial in trials:
        if id(trial) in counted:
            assert trial.values is not None
            found[trial.number] = (2.0, 0.0, sign * trial.values[0])
        elif trial.state == TrialState.PRUNED and trial.intermediate_values and "failure" not in record_of(trial):
            step = max(trial.intermediate_values)
            value = trial.intermediate_values[step]
            found[trial.number] = (1.0, float(step), sign * value) if math.isfinite(value) else (0.0,)
        elif trial.state in (TrialState.PRUNED, TrialState.COMPLETE):
            found[trial.number] = (0.0,)
    return found


def series_of(trials: Sequence[FrozenTrial]) -> list[Series]:
    """Every parameter of the trials, in the order of the study; the layers of one together."""
    found, groups = searched_ranges(trials)
    members: dict[str, list[str]] = {}
    for name in found:
        numeric = not isinstance(found[name], CategoricalDistribution)
        members.setdefault(groups.get(name, name) if numeric else name, []).append(name)
    return [_one(name, names, found, trials) for name, names in members.items()]


def _one(name: str, names: Sequence[str], found: Mapping[str, Any], trials: Sequence[FrozenTrial]) -> Series:
    ranges = [found[one] for one in names]
    if not all(isinstance(one, (IntDistribution, FloatDistribution)) for one in ranges):
        texts = {trial.number: value_text(trial.params[name]) for trial in trials if name in trial.params}
        return Series(name, False, values=texts)
    log = all(one.log for one in ranges)
    values: dict[int, float] = {}
    for trial in trials:
        mine = [_number(trial.params[one], log=log) for one in names if one in trial.params]
        known = [each for each in mine if each is not None]
        if known:
            values[trial.number] = _mean(known, log=log)
    return Series(
        name,
        True,
        whole=all(isinstance(one, IntDistribution) for one in ranges),
        log=log,
        low=float(min(one.low for one in ranges)),
        high=float(max(one.high for one in ranges)),
        values=values,
    )


def _number(value: Any, *, log: bool) -> float | None:
    """A value that somebody else may have written; None where it has no place on the scale."""
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return number if math.isfinite(number) and (number > 0 or not log) else None


def _mean(values: Sequence[float], *, log: bool) -> float:
    if len(values) == 1:
        return values[0]
    return math.exp(fmean(math.log(each) for each in values)) if log else fmean(values)

"""Whether more time would help: what as many trials again would gain, beside what the luck of a seed is worth.

A search changes slowly, so its next trials are taken to be like the last half of them. How much better the best of many
draws is than that of half as many is seen in them, and so is how fast that shrinks with each doubling; the best of as
many new draws follows. A search that still learns finds more: at least what the last half gained over the first.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from optuna.trial import FrozenTrial, TrialState

from hpo.results.best import eligible
from hpo.storage.seed_noise import SeedNoise, noise_between_repeats, noise_within_trials
from hpo.wording import difference

__all__ = ["FEWEST_TRIALS", "Outlook", "outlook_of"]


EULER = 0.5772156649015329  # the constant, of Euler and Mascheroni

FEWEST_TRIALS = 20
"""Nothing is said about a search of fewer trials that have ended."""

FEWEST_VALUES = 5
"""Nor of one that completed fewer trials in its last half."""

LEAST_SHARE = 0.35
"""What a doubling gives of the one before, at the least: two of them are not known that well."""

NOTHING = 0.01
"""A gain of this share of the spread between seeds is not shown as a number."""

ENOUGH = 2
"""Of how many differences between seeds their spread is known from."""


@dataclass(frozen=True)
class Outlook:
    """What more trials would bring.

    trials:    how many have ended; more: as many again as the last half of them, which the gain is for
    gain:      how much better than the best one of these is expected to be, 0 or more
    noise:     the standard deviation of a trial's value between seeds; None where nothing in the study tells it
    of:        whose noise it is, in words
    converged: the gain is below the noise; None where that is not known
    """

    trials: int
    more: int
    gain: float
    noise: float | None
    of: str = "two seeds of one configuration differ by"

    @property
    def converged(self) -> bool | None:
        return None if self.noise is None else self.gain < self.noise

    @property
    def text(self) -> str:
        """One sentence: the answer, then its reasoning."""
        small = self.noise is not None and self.gain < NOTHING * self.noise
        gain = "next to nothing" if small else f"about {difference(self.gain)}"
        found = f"{self.more:,} more trials would gain {gain}"
        if self.noise is None:
            return f"{found} over the best; how far seeds differ is not known"
        helps = "hardly" if self.converged else "likely"
        return f"more time would {helps} help: {found}, and {self.of} {difference(self.noise)} (standard deviation)"


def outlook_of(
    trials: Sequence[FrozenTrial], direction: str, *, seeds: bool = False, noise: float | None = None
) -> Outlook | None:
    """The outlook of a study of one objective; None while too little has ended to tell.

    seeds: each trial trains with several, and reports after each; noise: the deviation between seeds, where it is known
    """
    ended = [trial for trial in trials if trial.state in (TrialState.COMPLETE, TrialState.PRUNED)]
    ended = sorted((trial for trial in ended if _counts(trial)), key=lambda trial: trial.number)
    if len(ended) < FEWEST_TRIALS:
        return None
    sign = 1.0 if direction == "maximize" else -1.0
    values = [sign * trial.values[0] for trial in eligible(trials)]
    more = len(ended) // 2
    recent = sorted((sign * trial.values[0] for trial in eligible(ended[-more:])), reverse=True)
    if len(recent) < FEWEST_VALUES:
        return None
    known = SeedNoise(noise, ENOUGH) if noise is not None else _measured(trials, seeds=seeds)
    deviation = known.deviation if known is not None and known.freedom >= ENOUGH else None
    before = [sign * trial.values[0] for trial in eligible(ended[:-more])]
    # A search that climbs gains what it has just gained, whatever its values are like.
    climbed = recent[0] - max(before) if before else 0.0
    return Outlook(len(ended), more, max(expected_gain(recent, more, max(values)), climbed), deviation)


def expected_gain(recent: Sequence[float], more: int, best: float) -> float:
    """By how much the best of `more` draws is expected to pass `best`; larger is better.

    recent: values, largest first, of those `more` earlier draws that have one; the others are below all of these
    """
    values = np.array([*recent, *[recent[-1]] * (more - len(recent))])
    half, quarter, eighth = (_best_of(max(1, more // share), values) for share in (2, 4, 8))
    last = half - quarter
    if last <= 1e-12 * abs(half):
        return 0.0
    # What doubling the number of draws gave, and how much less than the time before: nothing less of a tail that is
    # exponential, half as much each time of one that ends.
    shrinks = min(1.0, max(LEAST_SHARE, last / (quarter - eighth))) if quarter > eighth else 1.0
    gain = last * shrinks
    # The best of many draws has about a Gumbel distribution, which has this scale if doubling moves it by `gain`.
    scale = gain / math.log(2.0)
    passing = math.exp(min(50.0, (half + gain - EULER * scale - best) / scale))
    if passing <= 1e-12:
        return 0.0
    from scipy.special import exp1  # here, as below: a quarter of what `hpo status` imports, for studies that need it

    return scale * float(math.log(passing) + EULER + exp1(passing))


def _best_of(count: int, values: NDArray[np.float64]) -> float:
    """The mean of the best of `count` of the values, which come largest first, over all ways to choose these."""
    places = np.arange(1, len(values) + 1)
    others = len(values) - places
    possible = others >= count - 1
    logs = _log_ways(others[possible], count - 1) - _log_ways(np.array([len(values)]), count)
    return float(np.exp(logs) @ values[possible])


def _log_ways(of: NDArray[np.int64], count: int) -> NDArray[np.float64]:
    from scipy.special import gammaln

    ways: NDArray[np.float64] = gammaln(of + 1.0) - gammaln(count + 1.0) - gammaln(of - count + 1.0)
    return ways


def _counts(trial: FrozenTrial) -> bool:
    return bool(trial.params) or trial.state is TrialState.COMPLETE


def _measured(trials: Sequence[FrozenTrial], *, seeds: bool) -> SeedNoise | None:
    within = noise_within_trials(trials) if seeds else None
    if within is None:
        return noise_between_repeats(trials)
    most = max((len(trial.intermediate_values) for trial in trials), default=1)
    return SeedNoise(within.deviation / math.sqrt(most), within.freedom)  # of the mean that a trial has as its value

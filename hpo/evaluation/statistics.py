"""What several runs of one configuration come to, and whether one configuration beats another."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, stdev

from scipy import stats

__all__ = ["Comparison", "Estimate", "compare", "estimate"]

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Estimate:
    """A mean over `n` runs. low, high: the 95 % interval of the mean (Student's t); None for a single run."""

    mean: float
    n: int
    std: float | None = None
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Comparison:
    """Two means by Welch's t-test, which lets their variances differ.

    difference: of the means, first minus second; low, high: its 95 % interval
    p:          two-sided, already multiplied by `chosen_among` (Bonferroni), at most 1
    """

    difference: float
    low: float
    high: float
    p: float
    chosen_among: int

    @property
    def beyond_chance(self) -> bool:
        return self.p < 1 - CONFIDENCE


def estimate(values: Sequence[float]) -> Estimate:
    """Mean and interval of at least one value. The interval says how far training seeds move the mean, and no more."""
    mean, n = fmean(values), len(values)
    if n < 2:
        return Estimate(mean, n)
    std = stdev(values)
    half = float(stats.t.ppf(0.5 + CONFIDENCE / 2, n - 1)) * std / math.sqrt(n)
    return Estimate(mean, n, std, mean - half, mean + half)


def compare(first: Sequence[float], second: Sequence[float], *, chosen_among: int = 1) -> Comparison | None:
    """Whether the means differ beyond chance; None unless both have at least two values.

    chosen_among: of how many configurations `first` is the best. The best of several looks better than it is, so the
    test is made that many times harder, and so is the interval.
    """
    if len(first) < 2 or len(second) < 2:
        return None
    difference = fmean(first) - fmean(second)
    parts = [stdev(values) ** 2 / len(values) for values in (first, second)]
    error = math.sqrt(sum(parts))
    if error == 0.0:  # every run of each came to the same value: there is no chance left
        return Comparison(difference, difference, difference, 0.0 if difference else 1.0, chosen_among)
    freedom = sum(parts) ** 2 / sum(part**2 / (len(v) - 1) for part, v in zip(parts, (first, second), strict=True))
    p = min(1.0, chosen_among * 2 * float(stats.t.sf(abs(difference) / error, freedom)))
    half = float(stats.t.ppf(1 - (1 - CONFIDENCE) / 2 / chosen_among, freedom)) * error
    return Comparison(difference, difference - half, difference + half, p, chosen_among)

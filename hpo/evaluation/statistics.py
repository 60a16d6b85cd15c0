"""The mean of several runs of one configuration and its interval, and whether one configuration beats another."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, stdev

from scipy import stats

__all__ = ["Comparison", "MeanEstimate", "compare", "estimate", "estimate_accuracy", "estimate_resampled"]

CONFIDENCE = 0.95

FEWEST = 3
"""With fewer runs no interval is given: two say almost nothing about their spread, and one says nothing."""


@dataclass(frozen=True)
class MeanEstimate:
    """A mean over `n` runs. low, high: its 95 % interval; None where `no_interval` says why there is none."""

    mean: float
    n: int
    std: float | None = None
    low: float | None = None
    high: float | None = None
    no_interval: str = ""


@dataclass(frozen=True)
class Comparison:
    """Two means compared by Welch's t-test, which allows different variances.

    difference: of the means, first minus second; low, high: its 95 % interval, None where all runs of each are alike
    p:          two-sided, already multiplied by `chosen_among` (Bonferroni), at most 1
    """

    difference: float
    low: float | None
    high: float | None
    p: float
    chosen_among: int

    @property
    def beyond_chance(self) -> bool:
        return self.p < 1 - CONFIDENCE


def estimate(values: Sequence[float], *, least: float = -math.inf, most: float = math.inf) -> MeanEstimate:
    """Mean of at least one value, and its Student's t interval: only how far training seeds move the mean.

    least, most: the range of possible values; the interval is cut off there
    """
    mean, n, std, reason = _spread(values)
    if reason or not std:
        return MeanEstimate(mean, n, std, no_interval=reason or "all runs alike")
    half = _quantile(n - 1) * std / math.sqrt(n)
    return MeanEstimate(mean, n, std, max(least, mean - half), min(most, mean + half))


def estimate_accuracy(values: Sequence[float], images: int) -> MeanEstimate:
    """Mean of accuracies on the same `images` test images, and an interval for both new seeds and new images.

    Wilson's score interval with an effective number of images, as for surveys in clusters (Korn and Graubard 1998; Dean
    and Pagano 2015). The variance of the mean is at most p(1-p)/images, which all runs share and more runs do not
    reduce, plus the variance of the seeds, s^2/n. The effective number of images is the number that alone would give
    this variance, and Satterthwaite's degrees of freedom give the quantile of t. The interval stays within 0..1. Where
    all runs are alike it still has the width that comes from the finite test split.
    """
    mean, n, std, reason = _spread(values)
    if reason or std is None:
        return MeanEstimate(mean, n, std, no_interval=reason)
    split, seeds = mean * (1 - mean) / images, std**2 / n
    effective, freedom = float(images), float("inf")
    if seeds > 0 and split > 0:
        effective = images * split / (split + seeds)
        freedom = (split + seeds) ** 2 / (split**2 / (images - 1 or 1) + seeds**2 / (n - 1))
    squared = _quantile(freedom) ** 2
    middle = (mean + squared / (2 * effective)) / (1 + squared / effective)
    half = math.sqrt(squared * (mean * (1 - mean) + squared / (4 * effective)) / effective) / (1 + squared / effective)
    return MeanEstimate(mean, n, std, max(0.0, min(mean, middle - half)), min(1.0, max(mean, middle + half)))


def estimate_resampled(
    values: Sequence[float],
    spreads: Sequence[float],
    items: int,
    *,
    least: float = -math.inf,
    most: float = math.inf,
) -> MeanEstimate:
    """Mean of scores on the same `items` test items, and an interval for both new seeds and new items.

    spreads: of each run, how far its score moves with the choice of items, by the bootstrap. The variance of the mean
    is that of the items, which all runs share and more runs do not reduce, plus that of the seeds, s^2/n; the interval
    is Student's t with Satterthwaite's degrees of freedom, cut off at the range of the score.
    """
    mean, n, std, reason = _spread(values)
    if reason or std is None:
        return MeanEstimate(mean, n, std, no_interval=reason)
    split, seeds = fmean(spread**2 for spread in spreads), std**2 / n
    if split + seeds == 0.0:
        return MeanEstimate(mean, n, std, no_interval="all runs alike")
    freedom = (split + seeds) ** 2 / (split**2 / (items - 1 or 1) + seeds**2 / (n - 1))
    half = _quantile(freedom) * math.sqrt(split + seeds)
    return MeanEstimate(mean, n, std, max(least, mean - half), min(most, mean + half))


def _spread(values: Sequence[float]) -> tuple[float, int, float | None, str]:
    """Mean, n, standard deviation, and why no interval is given."""
    n = len(values)
    few = "" if n >= FEWEST else "one run" if n == 1 else f"{n} runs"
    return fmean(values), n, stdev(values) if n > 1 else None, few


def _quantile(freedom: float) -> float:
    return float(stats.t.ppf(0.5 + CONFIDENCE / 2, freedom))


def compare(first: Sequence[float], second: Sequence[float], *, chosen_among: int = 1) -> Comparison | None:
    """Whether the means differ beyond chance; None unless both have at least two values.

    chosen_among: how many configurations `first` is the best of. The best of several looks better than it is, so test
    and interval are corrected for this number (Bonferroni). Where the runs of each are all alike, the exact permutation
    test replaces Welch's.
    """
    if len(first) < 2 or len(second) < 2:
        return None
    difference = fmean(first) - fmean(second)
    parts = [stdev(values) ** 2 / len(values) for values in (first, second)]
    error = math.sqrt(sum(parts))
    if error == 0.0:
        # All runs of each have the same value, and t is 0/0. The exact probability of this by chance is that of one
        # split of all runs in two (and its mirror image) among all such splits.
        chance = 2 / math.comb(len(first) + len(second), len(first)) if difference else 1.0
        return Comparison(difference, None, None, min(1.0, chosen_among * chance), chosen_among)
    freedom = sum(parts) ** 2 / sum(part**2 / (len(v) - 1) for part, v in zip(parts, (first, second), strict=True))
    p = min(1.0, chosen_among * 2 * float(stats.t.sf(abs(difference) / error, freedom)))
    half = float(stats.t.ppf(1 - (1 - CONFIDENCE) / 2 / chosen_among, freedom)) * error
    return Comparison(difference, difference - half, difference + half, p, chosen_among)

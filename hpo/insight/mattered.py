"""What mattered: one ranking of the parameters, with the good range of each, and how sure that is."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from hpo.insight.series import Series, quality, series_of
from hpo.results.reading import StudyView
from hpo.wording import value_text

__all__ = ["FEW_TRIALS", "Edge", "Matter", "Mattered", "mattered_in"]

FEW_TRIALS = 20
"""With fewer finished trials nothing is said: an order would be luck."""

MOST_TRIALS = 2000
"""Of more finished trials an even sample is ranked: more would change no order, and `hpo status` would take seconds."""

GROUPS = 6
"""A numeric parameter is cut into at most as many groups of equally many trials."""

BEST_SHARE = 0.1
"""The good range is that of the best tenth of the complete trials, of at least FEWEST_BEST."""
FEWEST_BEST = 5

EDGE = 0.05
"""The outer share of a range, on its scale, that counts as its edge."""


@dataclass(frozen=True)
class Matter:
    """One parameter. share: of the differences in rank that it explains alone, 0 to 1; they need not add up to 1.

    sure:      "sure", "likely" or "unclear", by the p of a Kruskal-Wallis test, corrected for the number of parameters
    direction: "small", "middle" or "large" in the searched range; "" of a category
    good:      lowest and highest good value, or the best category; () where the best do not have the parameter
    trials:    those that had the parameter
    """

    name: str
    share: float
    sure: str
    p: float
    direction: str
    good: tuple[float | str, ...]
    trials: int

    @property
    def text(self) -> str:
        """What the best are: `small, 3 to 12`, `mostly adam`, `without it`; `no clear effect`."""
        if self.sure == "unclear":
            return "no clear effect"
        if not self.good:
            return "without it"
        shown = " to ".join(dict.fromkeys(value_text(each) for each in self.good))
        where = "in the middle" if self.direction == "middle" else self.direction
        return f"{where}, {shown}" if where else f"mostly {shown}"


@dataclass(frozen=True)
class Edge:
    """The best values of a parameter that matters lie at one end of its range, `bound`: its "low" or "high" `side`."""

    name: str
    side: str
    bound: float

    @property
    def text(self) -> str:
        return f"the best {self.name} lie at the {self.side} end of their range ({value_text(self.bound)}): widen it"


@dataclass(frozen=True)
class Mattered:
    """parameters: the most important first; none where `why` says why. trials: finished ones that it rests on."""

    trials: int
    parameters: tuple[Matter, ...] = ()
    edges: tuple[Edge, ...] = ()
    why: str = ""

    @property
    def nothing(self) -> str:
        """Why no parameter is named, in the words of every surface; "" where some are."""
        if self.why:
            return f"not known yet: {self.why}"
        clear = any(one.sure != "unclear" for one in self.parameters)
        return "" if clear else f"no parameter stands out among {self.trials} finished trials"


def mattered_in(view: StudyView) -> Mattered:
    """The ranking by the first objective, from complete and pruned trials."""
    good = quality(view.trials, view.directions[0])
    if len(good) < FEW_TRIALS:
        return Mattered(len(good), why=f"it takes {FEW_TRIALS} finished trials to say; there are {len(good)}")
    best = _best_tenth(good)
    if len(best) < FEWEST_BEST:
        return Mattered(len(good), why=f"it takes {FEWEST_BEST} complete trials to say; there are {len(best)}")
    kept = {*_evenly(sorted(good), MOST_TRIALS), *best}
    ranks = _ranks({number: good[number] for number in kept})
    series = series_of([trial for trial in view.trials if trial.number in kept])
    varying = [one for one in series if len({one.values.get(number) for number in ranks} - {None}) > 1]
    found = [_judged(one, ranks, best, len(varying)) for one in varying]
    if not found:
        return Mattered(len(kept), why="no parameter took more than one value")
    order = sorted(found, key=lambda one: (one.sure == "unclear", -one.share))
    clear = {one.name for one in order if one.sure != "unclear"}
    return Mattered(len(kept), tuple(order), tuple(_edges([one for one in varying if one.name in clear], best)))


def _evenly(numbers: Sequence[int], limit: int) -> Sequence[int]:
    if len(numbers) <= limit:
        return numbers
    return [numbers[index * len(numbers) // limit] for index in range(limit)]


def _best_tenth(good: Mapping[int, tuple[float, ...]]) -> list[int]:
    """Numbers of the best complete trials, best first."""
    complete = sorted((number for number in good if good[number][0] == 2.0), key=lambda number: good[number])[::-1]
    return complete[: max(FEWEST_BEST, math.ceil(BEST_SHARE * len(complete)))]


def _ranks(good: Mapping[int, tuple[float, ...]]) -> dict[int, float]:
    """From 1, the worst, on; trials that tie share the mean of their ranks."""
    order = sorted(good, key=lambda number: good[number])
    ranks: dict[int, float] = {}
    start = 0
    while start < len(order):
        end = start
        while end < len(order) and good[order[end]] == good[order[start]]:
            end += 1
        ranks |= dict.fromkeys(order[start:end], (start + 1 + end) / 2)
        start = end
    return ranks


def _judged(one: Series, ranks: Mapping[int, float], best: Sequence[int], tested: int) -> Matter:
    having = {number: one.values[number] for number in ranks if number in one.values}
    share, p = _explained([ranks[number] for number in having], _groups(one, list(having.values())))
    corrected = min(1.0, p * tested)
    sure = "sure" if corrected < 0.001 else "likely" if corrected < 0.05 else "unclear"
    values = [one.values[number] for number in best if number in one.values]
    whole_share = share * len(having) / len(ranks)  # of a conditional one: where it is absent, it explains nothing
    if not one.numeric:
        winner = Counter(values).most_common(1)
        return Matter(one.name, whole_share, sure, corrected, "", tuple(name for name, _ in winner), len(having))
    if not values:
        return Matter(one.name, whole_share, sure, corrected, "", (), len(having))
    ordered = sorted(values)
    low, high = (ordered[round(part * (len(ordered) - 1))] for part in (0.1, 0.9))
    middle = one.place(median(values))
    third = 1 / 3 + 1e-9  # of 1 to 4, 2 is small and 3 is large
    direction = "small" if middle <= third else "large" if middle >= 1 - third else "middle"
    rounded = (round(low), round(high)) if one.whole else (low, high)
    return Matter(one.name, whole_share, sure, corrected, direction, rounded, len(having))


def _groups(one: Series, values: Sequence[float | str]) -> list[int]:
    """The group of each value: a category, a number where these are few, or one of a few equally large slices."""
    different = sorted(set(values), key=lambda value: (str(type(value)), value))
    if not one.numeric or len(different) <= GROUPS:
        return [different.index(value) for value in values]
    wanted = max(2, min(GROUPS, len(values) // 8))
    order = sorted(values, key=float)
    cuts = [order[len(order) * cut // wanted] for cut in range(1, wanted)]
    return [sum(value >= cut for cut in cuts) for value in values]  # type: ignore[operator]


def _explained(ranks: Sequence[float], groups: Sequence[int]) -> tuple[float, float]:
    """(epsilon squared, p) of Kruskal and Wallis's test, corrected for ties.

    Epsilon squared (Kelley 1935; Tomczak and Tomczak 2014) is the share of the variance of ranks between groups, less
    what chance alone would give. p by Wilson and Hilferty's approximation of chi squared.
    """
    n = len(ranks)
    sums: dict[int, list[float]] = {}
    for rank, group in zip(ranks, groups, strict=True):
        sums.setdefault(group, []).append(rank)
    freedom = len(sums) - 1
    mean = sum(ranks) / n if n else 0.0
    total = sum((rank - mean) ** 2 for rank in ranks)
    if freedom < 1 or n <= freedom + 1 or total == 0:
        return 0.0, 1.0
    between = sum(len(group) * (sum(group) / len(group) - mean) ** 2 for group in sums.values())
    statistic = (n - 1) * between / total
    share = max(0.0, (statistic - freedom) / (n - 1 - freedom))
    deviation = ((statistic / freedom) ** (1 / 3) - (1 - 2 / (9 * freedom))) / math.sqrt(2 / (9 * freedom))
    return min(1.0, share), 0.5 * math.erfc(deviation / math.sqrt(2))


def _edges(varying: Sequence[Series], best: Sequence[int]) -> list[Edge]:
    """Ends of ranges at which the best trial and at least half of the best tenth lie."""
    found = []
    for one in varying:
        values = [one.values[number] for number in best if number in one.values]
        if not one.numeric or best[0] not in one.values or len(values) < FEWEST_BEST:
            continue
        for side, bound in (("low", one.low), ("high", one.high)):
            near = [abs(one.place(value) - one.place(bound)) <= EDGE for value in values]
            if near[0] and sum(near) * 2 >= len(near) and not _natural(one, bound, side):
                found.append(Edge(one.name, side, round(bound) if one.whole else bound))
    return found


def _natural(one: Series, bound: float, side: str) -> bool:
    """Whether nothing lies beyond: no share is below 0 or above 1, and no count below 1."""
    if side == "low":
        return bound == 0 or (one.whole and bound == 1)
    return bound == 1 and not one.whole

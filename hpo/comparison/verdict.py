"""Which study found more? A test of fresh runs says so where each has them; the searches alone only suggest it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from math import comb

from optuna.trial import FrozenTrial

from hpo.comparison.contender import Contender, FreshRuns
from hpo.evaluation.statistics import Comparison, compare
from hpo.insight.verdict import FEWEST_IMAGES, value_of_one_image
from hpo.printable import one_line
from hpo.results.best import eligible, why_no_best
from hpo.wording import difference, score

__all__ = ["ComparisonVerdict", "Pair", "judge"]


@dataclass(frozen=True)
class Pair:
    """Two studies compared by fresh runs of their winners.

    difference: of their mean scores, first minus second; low, high: its 95 % interval, None where there is none
    p:          two-sided, corrected for every configuration and every pair of studies; None where one run cannot tell
    """

    first: str
    second: str
    difference: float
    low: float | None
    high: float | None
    p: float | None
    beyond_chance: bool


@dataclass(frozen=True)
class ComparisonVerdict:
    """Which study is ahead, as a sentence and in numbers.

    basis:      "evaluation", "search" or "nothing" (fewer than two have anything to compare)
    order:      studies that could be compared, best first
    best:       the one that is better than each other beyond chance; None where no test says so
    tied:       those at the head that nothing tells apart, the first one included; empty where `best` is one
    optimistic: the values are those of searches, each the best of many noisy trials
    why_search: why fresh runs do not decide; "" where they do
    """

    sentence: str
    basis: str
    order: tuple[str, ...] = ()
    best: str | None = None
    tied: tuple[str, ...] = ()
    optimistic: bool = False
    pairs: tuple[Pair, ...] = ()
    why_search: str = ""


def judge(contenders: Sequence[Contender]) -> ComparisonVerdict:
    """The verdict on two or more studies of one metric."""
    why = _why_search(contenders)
    if not why:
        return _evaluated([(one, one.measured) for one in contenders if one.measured is not None])
    return _searched(contenders, why)


def _why_search(contenders: Sequence[Contender]) -> str:
    """Why the searches have to do; "" where each study was measured in the same way on the same data."""
    missing = [one_line(one.name) for one in contenders if one.measured is None]
    if missing:
        return f"{_listed(missing)} {'was' if len(missing) == 1 else 'were'} not evaluated"
    if len({one.measured.measure for one in contenders if one.measured is not None}) > 1:
        return "they were evaluated on different data or by different metrics"
    return ""


def _evaluated(measured: Sequence[tuple[Contender, FreshRuns]]) -> ComparisonVerdict:
    up = measured[0][1].measure[1] == "maximize"
    order = sorted(measured, key=lambda one: one[1].score["mean"], reverse=up)
    pairs = [_pair(one, other, comb(len(order), 2)) for one, other in combinations(order, 2)]
    first = one_line(order[0][0].name)
    against = pairs[: len(order) - 1]  # those of the first with each other
    open_ones = [one_line(pair.second) for pair in against if not pair.beyond_chance]
    beaten = [pair for pair in against if pair.beyond_chance]
    where = f"{order[0][1].measure[0].replace('_', ' ')}, fresh runs"
    means = ", ".join(f"{one_line(one.name)} {score(found.score['mean'])}" for one, found in order)
    names = tuple(one.name for one, _ in order)
    if not open_ones:
        sentence = f"{first} is better than {_listed([one_line(pair.second) for pair in beaten])} beyond chance"
        return ComparisonVerdict(
            f"{sentence} ({where}: {means}; {_tests(beaten)}).", "evaluation", names, names[0], (), False, tuple(pairs)
        )
    if any(pair.p is None for pair in against):
        sentence = "One run each cannot tell skill from luck: evaluate with --seeds 3 or more"
    else:
        sentence = f"{_listed([first, *open_ones])} do not differ beyond chance"
    if beaten:
        sentence += f"; {first} is better than {_listed([one_line(pair.second) for pair in beaten])}"
    tied = (names[0], *(pair.second for pair in against if not pair.beyond_chance))
    tests = f"; {_tests(against)}" if any(pair.p is not None for pair in against) else ""
    return ComparisonVerdict(
        f"{sentence} ({where}: {means}{tests}).", "evaluation", names, None, tied, False, tuple(pairs)
    )


def _pair(one: tuple[Contender, FreshRuns], other: tuple[Contender, FreshRuns], studies: int) -> Pair:
    (first, mine), (second, theirs) = one, other
    among = studies * mine.chosen_among * theirs.chosen_among
    found: Comparison | None = compare(mine.score["values"], theirs.score["values"], chosen_among=among)
    if found is None:
        apart = mine.score["mean"] - theirs.score["mean"]
        return Pair(first.name, second.name, apart, None, None, None, False)
    return Pair(first.name, second.name, found.difference, found.low, found.high, found.p, found.beyond_chance)


def _tests(pairs: Sequence[Pair]) -> str:
    """`p = 0.003`, of several the largest: the weakest of what is claimed."""
    known = [pair.p for pair in pairs if pair.p is not None]
    corrected = "corrected for every configuration that was evaluated"
    return f"p = {max(known):.2g}, {corrected}" if len(known) == 1 else f"p at most {max(known):.2g}, {corrected}"


def _searched(contenders: Sequence[Contender], why: str) -> ComparisonVerdict:
    up = contenders[0].view.directions[0] == "maximize"
    found = [(one, best) for one in contenders if (best := one.view.best) is not None]
    lacking = [f"{one_line(one.name)} ({why_no_best(one.view.trials)})" for one in contenders if one.view.best is None]
    without = f" There is no best trial of {_listed(lacking)}." if lacking else ""
    if len(found) < 2:
        return ComparisonVerdict(f"Nothing to compare yet.{without}", "nothing", why_search=why)
    order = sorted(found, key=lambda one: one[1].values[0], reverse=up)
    (first, best), (second, next_best) = order[:2]
    names = tuple(one.name for one, _ in order)
    told = _listed([f"{one_line(one.name)} {score(trial.values[0])} (trial {trial.number})" for one, trial in order])
    apart = abs(best.values[0] - next_best.values[0])
    if not apart:
        alike = [one.name for one, trial in order if trial.values[0] == best.values[0]]
        sentence = f"A tie so far. In the search: {told}."
        return ComparisonVerdict(sentence + without, "search", names, None, tuple(alike), True, (), why)
    if chance := _few_images(first, best, next_best):
        sentence = f"A tie so far. In the search: {told}; the first two are {chance}, which can be chance."
        return ComparisonVerdict(sentence + without, "search", names, None, names[:2], True, (), why)
    many = _listed([str(len(eligible(one.view.trials))) for one, _ in order])
    sentence = (
        f"{one_line(first.name)} found more than {one_line(second.name)}, {difference(apart)} apart. "
        f"In the search: {told}. That is optimistic, because each is the best of many noisy trials ({many}): {why}."
    )
    return ComparisonVerdict(sentence + without, "search", names, None, (), True, (), why)


def _few_images(one: Contender, best: FrozenTrial, other: FrozenTrial) -> str:
    """`2 of 287 validation images apart`, where these are too few to mean anything; else ""."""
    worth = value_of_one_image(one.view, best, other)
    images = round(abs(best.values[0] - other.values[0]) / worth) if worth else FEWEST_IMAGES
    if not worth or images >= FEWEST_IMAGES:
        return ""
    return f"{images} of {round(1 / worth)} validation images apart (one is worth {difference(worth)})"


def _listed(names: Sequence[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    return " and ".join(part for part in (", ".join(names[:-1]), names[-1]) if part) if names else ""

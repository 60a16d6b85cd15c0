"""Is it better than the baseline? The evaluation says so where there is one; the search alone only suggests it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from optuna.trial import FrozenTrial

from hpo.results.best import eligible, pareto_front, why_no_baseline, why_no_best
from hpo.results.evaluation import EvaluationDocument
from hpo.results.reading import StudyView
from hpo.storage.trial_record import record_of
from hpo.wording import difference, score

__all__ = ["FEWEST_IMAGES", "IMAGE_METRIC", "StudyVerdict", "answer_of", "baseline_of", "value_of_one_image"]

FEWEST_IMAGES = 6
"""A sign test of fewer differing images than this finds nothing at 5 %, even if the best is right on every one of them:
2 * 0.5**5 is 0.0625."""

IMAGE_METRIC = "val_accuracy"
"""The objective that is a share of images."""


@dataclass(frozen=True)
class StudyVerdict:
    """Whether the best beats the baseline, as a sentence and in numbers.

    basis:      "evaluation", "search" or "nothing" (there is nothing to compare)
    better:     True or False; None where nobody can say yet
    tie:        the difference is too small to mean anything
    optimistic: `difference` is the search's own, which chose the best of many noisy trials
    difference: by the objective, above 0 if the best is better; None where there is nothing to compare
    one_image:  what one validation image is worth; images: the difference in such images. None where not known
    """

    sentence: str
    basis: str
    better: bool | None = None
    tie: bool = False
    optimistic: bool = False
    difference: float | None = None
    images: int | None = None
    one_image: float | None = None


def answer_of(view: StudyView, best: FrozenTrial | None, baseline: FrozenTrial | None) -> StudyVerdict:
    """The verdict on a study as it stands, whose best trial and whose finished baseline these are."""
    if len(view.directions) > 1:
        return _several(view)
    if view.evaluation is not None:
        return _evaluated(view, view.evaluation, best)
    if best is None:
        return StudyVerdict(f"No best trial yet: {why_no_best(view.trials)}.", "nothing")
    if baseline is None:
        why = why_no_baseline(view.trials)
        found = f"The best of the search is trial {best.number} with {score(best.values[0])}"
        return StudyVerdict(f"{found}; there is nothing to compare it with: {why}.", "nothing")
    return _searched(view, best, baseline)


def baseline_of(trials: Sequence[FrozenTrial]) -> FrozenTrial | None:
    """The baseline's trial, once it is complete with a finite value."""
    if why_no_baseline(trials):
        return None
    return next(trial for trial in trials if record_of(trial).get("origin") == "baseline")


def value_of_one_image(view: StudyView, best: FrozenTrial, baseline: FrozenTrial) -> float | None:
    """By how much one validation image changes the objective; None where that is no share of the same images."""
    if view.objectives[:1] != (IMAGE_METRIC,):
        return None
    counts = {record_of(trial).get("val_images", 0) for trial in (best, baseline)}
    count = counts.pop()
    return 1.0 / count if not counts and count > 0 else None


def _several(view: StudyView) -> StudyVerdict:
    front = pareto_front(view.trials, view.directions)
    if not front:
        return StudyVerdict(f"No best trial yet: {why_no_best(view.trials)}.", "nothing")
    if len(front) == 1:
        return StudyVerdict(f"Trial {front[0].number} alone makes the Pareto front of {_names(view)}.", "search")
    return StudyVerdict(
        f"{len(front)} trials make the Pareto front of {_names(view)}: none of them is best in all.", "search"
    )


def _names(view: StudyView) -> str:
    return " and ".join((", ".join(view.objectives[:-1]), view.objectives[-1]))


def _evaluated(view: StudyView, document: EvaluationDocument, best: FrozenTrial | None) -> StudyVerdict:
    """The evaluation's own sentence, and whether the search has gone past it."""
    verdict = document["verdict"]
    sentence, found = verdict["sentence"], verdict.get("difference")
    known = {row["trial"] for row in document["configurations"]}
    if best is not None and best.number not in known:
        sentence += f" Trial {best.number}, which the search has found since, was not evaluated."
    better = verdict["beats_baseline"]
    gain = found if found is None or document.get("direction", "maximize") == "maximize" else -found
    tie = better is False and verdict.get("p", 0.0) >= 0.05
    return StudyVerdict(sentence, "evaluation", better, tie, difference=gain)


def _searched(view: StudyView, best: FrozenTrial, baseline: FrozenTrial) -> StudyVerdict:
    here, there = best.values[0], baseline.values[0]
    gain = here - there if view.directions[0] == "maximize" else there - here
    one = value_of_one_image(view, best, baseline)
    images = round(abs(gain) / one) if one else None
    counted = eligible(view.trials)
    if best.number == baseline.number:
        others = sum(trial.values[0] == there for trial in counted) - 1
        same = f"; {others} other trial{'s reach' if others > 1 else ' reaches'} the same" if others else ""
        sentence = f"No trial is better than the baseline (trial {baseline.number}, {score(there)}) so far{same}."
        return StudyVerdict(sentence, "search", None, tie=bool(others), difference=0.0, images=images, one_image=one)
    found = f"trial {best.number} scored {score(here)} in the search, the baseline {score(there)}"
    if gain == 0:
        return StudyVerdict(
            f"A tie so far: {found}.", "search", None, True, difference=gain, images=images, one_image=one
        )
    if gain < 0:
        sentence = f"No trial is better than the baseline so far: {found}."
        return StudyVerdict(sentence, "search", None, difference=gain, images=images, one_image=one)
    if one and images is not None and images < FEWEST_IMAGES:
        apart = f"{images} of {round(1 / one)} validation images apart (one is worth {difference(one)})"
        sentence = f"A tie so far: {found}. They are {apart}, which can be chance."
        return StudyVerdict(sentence, "search", None, True, True, gain, images, one)
    many = len(counted)
    among = f": it is the best of {many} complete trials, each partly luck" if many > 1 else ""
    counted_in = f": {images} of {round(1 / one)} validation images" if one and images is not None else ""
    sentence = (
        f"Trial {best.number} scored {score(here)} in the search, {difference(gain)} better than the baseline "
        f"({score(there)}){counted_in}. That gain is optimistic{among}."
    )
    return StudyVerdict(sentence, "search", None, optimistic=True, difference=gain, images=images, one_image=one)

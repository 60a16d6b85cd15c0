"""What to do next: a few sentences, the most useful first."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

from hpo.insight.configurations import Settled
from hpo.insight.cost import Pace
from hpo.insight.mattered import FEW_TRIALS, Mattered
from hpo.insight.outlook import Outlook, outlook_of
from hpo.insight.verdict import IMAGE_METRIC, StudyVerdict
from hpo.results.best import why_no_baseline
from hpo.results.reading import StudyView
from hpo.storage.optuna_schema import count_finished
from hpo.storage.trial_record import record_of

__all__ = ["NextStep", "advise"]

MANY_FAILED = 0.2
"""From this share of finished trials on, failures come first."""

STILL_IMPROVING = 0.2
"""A search whose last gain is in so late a part of it would have gone on."""


STOPPED = "it was stopped in a dashboard: `hpo run` goes on where its trials stopped, with the time that you give it"


@dataclass(frozen=True)
class NextStep:
    """text: one sentence. command: what to call, without `hpo` and the study, as "evaluate"; "" where there is none."""

    text: str
    command: str = ""


def advise(
    view: StudyView, answer: StudyVerdict, settled: Settled, mattered: Mattered, pace: Pace
) -> tuple[NextStep, ...]:
    """The steps that make sense for a study as it stands; none only while there is nothing but waiting."""
    return tuple(_steps(view, answer, settled, mattered, pace))


def _steps(
    view: StudyView, answer: StudyVerdict, settled: Settled, mattered: Mattered, pace: Pace
) -> Iterator[NextStep]:
    counts, finished = view.counts, count_finished(view.counts)
    if view.stopped:
        yield NextStep(STOPPED, "run")
    if not finished:
        if view.stopped:
            return
        if not counts["running"]:
            yield NextStep("`hpo run` starts the search", "run")
        return
    if counts["failed"] and counts["failed"] >= MANY_FAILED * finished:
        many = f"{counts['failed']} of {finished} finished trials failed"
        yield NextStep(f"{many}: `hpo trials --state failed` says why", "trials --state failed")
    if view.declaration is not None and " failed" in why_no_baseline(view.trials):
        yield NextStep("the baseline failed: `hpo run --retry-failed` tries it again", "run --retry-failed")
    if counts["running"] == 0:
        yield from _after(view, answer, settled, pace)
    for edge in mattered.edges:
        yield NextStep(edge.text)


def _outlook(view: StudyView, answer: StudyVerdict, best: int) -> Outlook | None:
    """Whether more time would help, beside the noise of seeds; where that is not known, of which images validate."""
    several = any("seeds" in record_of(trial) for trial in view.trials)
    found = outlook_of(view.trials, view.directions[0], seeds=several)
    if found is None or found.noise is not None or not answer.one_image:
        return found
    value = next(trial.values[0] for trial in view.trials if trial.number == best)
    luck = math.sqrt(max(value * (1.0 - value), answer.one_image) * answer.one_image)
    return replace(found, noise=luck, of="other validation images would change the score by")


def _after(view: StudyView, answer: StudyVerdict, settled: Settled, pace: Pace) -> Iterator[NextStep]:
    """Once nobody works on it."""
    best = settled.trial
    if best is None or len(view.directions) > 1:
        return
    if view.objectives[:1] == (IMAGE_METRIC,) and settled.baseline_value == 1.0:
        yield NextStep("the baseline has every validation image right: harder images, or more of them, would tell more")
    if answer.basis == "evaluation":
        if answer.sentence.endswith("was not evaluated."):
            yield NextStep("`hpo evaluate` measures it, too", "evaluate")
        elif answer.better:
            yield NextStep(f"{settled.use} is worth using: `hpo export` writes it", "export")
        else:
            yield NextStep("keep the baseline, or search longer with `hpo run`", "run")
        return
    outlook = _outlook(view, answer, best)
    if outlook is not None and outlook.noise is not None:
        yield NextStep(outlook.text, "" if outlook.converged else "run")
    elif pace.trials_since is not None and settled.use != "baseline":
        late = pace.trials_since <= STILL_IMPROVING * count_finished(view.counts)
        if late and count_finished(view.counts) >= 5:
            yield NextStep(
                f"it was still getting better (trial {settled.trial}): a longer `hpo run` may find more", "run"
            )
    if settled.use == "baseline" and count_finished(view.counts) < FEW_TRIALS:
        done = count_finished(view.counts)
        yield NextStep(
            f"{done} finished trial{'s' if done != 1 else ''} can say little: a longer `hpo run` goes on", "run"
        )
    if view.trained_here:
        # What is stored of a function of a run does not say whether its study has the other one.
        given = ", where the study gives final=" if "(function)" in (view.declaration or {}) else ""
        yield NextStep(f"`hpo evaluate` measures the best on data that the search never saw{given}", "evaluate")
    elif settled.use != "baseline":
        yield NextStep(
            f"train trial {best} again with other seeds to see what is left of it; `hpo report` draws the rest"
        )

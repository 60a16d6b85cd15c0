"""Why one trial ended as it did, from what the database holds: for a person, and as JSON."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any

from optuna.trial import FrozenTrial, TrialState

from hpo.results.reading import StudyView, find_trial
from hpo.storage.optuna_schema import STATES
from hpo.storage.trial_record import decisions_of, record_of
from hpo.wording import score, shortened

__all__ = ["Compared", "Why", "decided_last", "why"]


@dataclass(frozen=True)
class Compared:
    """A trial beside the others after as many steps.

    step, value: the last that it reported. best: the best of its values so far, which a median pruner goes by
    median:      of the values at this step of the `others` trials that were complete when it ended; None without any
    better:      how many of them were better there
    """

    step: int
    value: float
    best: float
    others: int
    median: float | None
    better: int


@dataclass(frozen=True)
class Why:
    """sentences: the answer, the most important first. compared: None where the trial reported nothing."""

    trial: int
    state: str
    sentences: tuple[str, ...]
    compared: Compared | None

    def document(self) -> dict[str, Any]:
        """The same as JSON."""
        return asdict(self)


def why(view: StudyView, number: int) -> Why:
    """Why trial `number` ended as it did. Raises StudyError where there is no such trial."""
    trial = find_trial(view.name, view.trials, number)
    compared = _compared(view, trial)
    sentences = [*_ended(view, trial, compared), *_decided(trial)]
    return Why(number, STATES[trial.state], tuple(sentences), compared)


def decided_last(view: StudyView) -> list[dict[str, Any]]:
    """What a search that pauses trials last decided about each trial that has not ended, those in training first: the
    trial's number and state, and a sentence. [] where nothing was decided, as with a sampler and a pruner."""
    found = [
        {"trial": trial.number, "state": STATES[trial.state], "sentence": sentence}
        for trial in view.trials
        if not trial.state.is_finished()
        for sentence in _decided(trial)
    ]
    return sorted(found, key=lambda one: (one["state"] != "running", one["trial"]))


def _compared(view: StudyView, trial: FrozenTrial) -> Compared | None:
    reported = {step: value for step, value in trial.intermediate_values.items() if not math.isnan(value)}
    if not reported or len(view.directions) != 1:
        return None
    step = max(reported)
    sign = 1 if view.directions[0] == "maximize" else -1
    others = [
        other.intermediate_values[step]
        for other in view.trials
        if other.state == TrialState.COMPLETE
        and other.number != trial.number
        and not math.isnan(other.intermediate_values.get(step, math.nan))
        and _before(other, trial)
    ]
    best = max(reported.values(), key=lambda value: sign * value)
    better = sum(sign * value > sign * best for value in others)
    return Compared(step, reported[step], best, len(others), median(others) if others else None, better)


def _before(other: FrozenTrial, trial: FrozenTrial) -> bool:
    """Whether `other` was complete when `trial` ended; a trial that has not ended sees all."""
    if other.datetime_complete is None or trial.datetime_complete is None:
        return trial.datetime_complete is None
    return other.datetime_complete <= trial.datetime_complete


def _ended(view: StudyView, trial: FrozenTrial, compared: Compared | None) -> list[str]:
    record = record_of(trial)
    failure = record.get("failure")
    if failure:
        said = {"diverged": "it diverged", "out_of_memory": "it ran out of memory"}.get(failure.get("kind", ""), "")
        reason = failure.get("reason") or "no reason was recorded"
        return [f"{said}: {reason}" if said else reason]
    if trial.state == TrialState.PRUNED:
        return _pruned(view, trial, compared)
    if trial.state == TrialState.COMPLETE:
        epochs, best = record.get("epochs"), record.get("best_epoch")
        after = f" after {epochs} epoch{'s' if epochs != 1 else ''}" if epochs else ""
        return [f"it trained to its end{after}" + (f"; epoch {best} was its best" if best is not None else "")]
    if trial.state == TrialState.FAIL:
        return ["it failed, and no reason was recorded"]
    return [{"running": "it is being trained", "waiting": "it waits for a trainer"}.get(STATES[trial.state], "")]


def _pruned(view: StudyView, trial: FrozenTrial, compared: Compared | None) -> list[str]:
    pruner = (view.declaration or {}).get("(pruner)")
    rule = f"{pruner} decided" if isinstance(pruner, str) else "the study's pruner decided"
    if compared is None:
        return [f"{rule}; it reported no value that could be compared"]
    name = view.objectives[0] if view.objectives else "value"
    unit = "epoch" if view.trained_here else "step"
    reached = f"after {unit} {compared.step} its {name} was {score(compared.value)}"
    if compared.best != compared.value:
        when = next(step for step, value in trial.intermediate_values.items() if value == compared.best)
        reached += f", its best so far {score(compared.best)} (after {unit} {when})"
    if compared.median is None:
        return [f"{reached}; no complete trial had a value there to compare with", rule]
    return [
        f"{reached}; the {compared.others} trials that were complete by then had a median of "
        f"{score(compared.median)} after that {unit}, and {compared.better} of them were better than its best",
        rule,
    ]


def _decided(trial: FrozenTrial) -> list[str]:
    """The last decision of a search that pauses trials."""
    rows = decisions_of(trial)
    if not rows:
        return []
    last = rows[-1]
    trained = f"last trained from epoch {last['after']} to {last['until']}"
    believed = {key: last[key] for key in ("expected", "chance", "goal") if isinstance(last.get(key), int | float)}
    if "expected" not in believed:
        return [f"{trained}: {shortened(last['why'])}" if isinstance(last.get("why"), str) else trained]
    text = f"{trained}, expected at {score(believed['expected'])} at its end"
    if len(believed) == 3:
        text += f", with a chance of {100 * believed['chance']:.0f} % to pass {score(believed['goal'])}"
    return [text]

"""What becomes of a trial, given how its training ended: the policy of docs/failures.md as pure functions.

complete        COMPLETE with the best epoch's values
diverged        PRUNED, constraint `finite` violated, so that the sampler learns to stay away
out_of_memory   PRUNED, constraint `memory` violated, likewise
failed          FAIL with type, message and the last traceback lines
refused         FAIL: the values it was enqueued with are no configuration of the study
trainers died   FAIL after the last attempt, saying how the trainer ended
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from optuna.trial import TrialState

from hpo.messages import Finished
from hpo.storage.trial_record import REFUSED, TrialFailure, TrialRecord, make_record
from hpo.study.study import Study
from hpo.trainers.trial import Trial
from hpo.wording import score

__all__ = ["Outcome", "classify", "given_up", "pruned", "refused"]

CONSTRAINTS = {"diverged": "finite", "out_of_memory": "memory"}


@dataclass(frozen=True)
class Outcome:
    """How a trial ends in the database. `line` is what a person reads about it."""

    state: TrialState
    values: tuple[float, ...] | None
    attributes: TrialRecord
    constraints: Mapping[str, float] = field(default_factory=dict)
    line: str = ""


def classify(study: Study, trial: Trial, message: Finished, baseline: Mapping[str, float]) -> Outcome:
    """The outcome of a trial whose training ended. `baseline`: metrics of the baseline trial, empty until then."""
    attributes = _attributes(trial, message)
    if message.outcome == "complete":
        values = tuple(float(message.metrics.get(metric, math.nan)) for metric in study.objectives)
        limited = [rule.metric for rule in study.constraints]
        unknown = [name for name in (*study.objectives, *limited) if math.isnan(message.metrics.get(name, math.nan))]
        if not unknown:
            shown = ", ".join(
                f"{metric} {score(value)}" for metric, value in zip(study.objectives, values, strict=True)
            )
            return Outcome(TrialState.COMPLETE, values, attributes, _limits(study, message.metrics, baseline), shown)
        message = Finished(trial.trial_id, "diverged", reason=f"{', '.join(unknown)} is not a number")
    if message.outcome == "pruned":
        return Outcome(TrialState.PRUNED, _last(study, trial), attributes)
    if message.outcome in CONSTRAINTS:
        attributes["failure"] = TrialFailure(kind=message.outcome, reason=message.reason)
        constraint = {CONSTRAINTS[message.outcome]: 1.0}
        return Outcome(
            TrialState.PRUNED, _last(study, trial), attributes, constraint, f"{message.outcome}: {message.reason}"
        )
    failure = TrialFailure(kind=message.outcome, reason=message.reason, traceback=list(message.details))
    if message.where:
        failure["where"] = message.where
    line = f"{message.reason} ({message.where})" if message.where else message.reason
    return Outcome(TrialState.FAIL, None, make_record(attributes, TrialRecord(failure=failure)), {}, line)


def given_up(trial: Trial, how: str) -> Outcome:
    """The outcome of a trial whose trainers died until no attempt was left. `how`: how the last one ended."""
    of = "" if trial.trainer_deaths == trial.attempts else f" of {trial.attempts}"
    reason = f"its trainer ended ({how}) in {trial.trainer_deaths}{of} attempts"
    failure = TrialFailure(kind="attempts", attempts=trial.attempts, reason=reason)
    attributes = make_record(_attributes(trial, None), TrialRecord(failure=failure))
    return Outcome(TrialState.FAIL, None, attributes, {}, reason)


def refused(attempt: int, reason: str) -> Outcome:
    """The outcome of a trial that nobody can train because of values that others gave it."""
    failure = TrialFailure(kind=REFUSED, reason=reason)
    return Outcome(TrialState.FAIL, None, TrialRecord(attempt=attempt, failure=failure), {}, reason)


def pruned(study: Study, trial: Trial) -> Outcome:
    """The outcome of a trial that the pruner stopped. As in Optuna, its value is the last one reported."""
    return Outcome(TrialState.PRUNED, _last(study, trial), _attributes(trial, None))


def _last(study: Study, trial: Trial) -> tuple[float, ...] | None:
    # Optuna takes a value for every objective or none, a pruned trial has only the first; and its tables hold no NaN.
    if trial.score is None or math.isnan(trial.score) or len(study.objectives) > 1:
        return None
    return (trial.score,)


def _attributes(trial: Trial, message: Finished | None) -> TrialRecord:
    known = TrialRecord(config=trial.config, attempt=trial.attempt)
    if message is None:
        return make_record(known, trial.facts, TrialRecord(epochs=trial.epoch))
    ended = TrialRecord(best_epoch=message.best_epoch, epochs=message.epoch)
    return make_record(known, trial.facts, ended, message.facts, TrialRecord(metrics=dict(message.metrics)))


def _limits(study: Study, metrics: Mapping[str, Any], baseline: Mapping[str, float]) -> dict[str, float]:
    """Each constraint as Optuna wants it: how far above its limit, feasible at zero and below."""
    constraints: dict[str, float] = {}
    for rule in study.constraints:
        base = metrics.get(f"baseline_{rule.metric}", baseline.get(rule.metric))
        excess = rule.excess(float(metrics[rule.metric]), base)
        if excess is not None:
            constraints[rule.metric] = excess
    return constraints

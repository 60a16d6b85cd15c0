"""How much training time pruning saved: an estimate, and how it was made."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import median

from optuna.trial import FrozenTrial, TrialState

from hpo.results.reading import StudyView
from hpo.storage.trial_record import record_of

__all__ = ["Saving", "pruning_saving"]


@dataclass(frozen=True)
class Saving:
    """seconds: training that did not happen. usual_steps: the median steps of complete trials. Each pruned trial is
    assumed to have needed as many, or its own `epochs` where these are a parameter and fewer, in the seconds per step
    that it took itself, without what a trainer loads first."""

    seconds: float
    pruned: int
    usual_steps: int


def pruning_saving(view: StudyView) -> Saving | None:
    """None where nothing was pruned, or no complete trial shows how long it would have been.

    Trials cut short because they diverged or ran out of memory count as failures, not as savings.
    """
    steps = [len(trial.intermediate_values) for trial in view.trials if trial.state == TrialState.COMPLETE]
    pruned = [
        trial
        for trial in view.trials
        if trial.state == TrialState.PRUNED and trial.intermediate_values and "failure" not in record_of(trial)
    ]
    if not pruned or not any(steps):
        return None
    usual = round(median(step for step in steps if step))
    saved = 0.0
    for trial in pruned:
        done = len(trial.intermediate_values)
        saved += max(0, min(usual, _own_length(trial)) - done) * _trained_seconds(trial) / done
    return Saving(saved, len(pruned), usual)


def _own_length(trial: FrozenTrial) -> float:
    length = trial.params.get("epochs")
    return length if isinstance(length, int) and length > 0 else math.inf


def _trained_seconds(trial: FrozenTrial) -> float:
    """Training and scoring where the trainer recorded them; else from start to end, which may include setting up."""
    record = record_of(trial)
    if "train_seconds" in record:
        return max(0.0, record["train_seconds"] + record.get("eval_seconds", 0.0))
    whole = trial.duration.total_seconds() if trial.duration else 0.0
    return float(record.get("seconds", whole))

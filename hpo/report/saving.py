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
    assumed to have needed as many, in the seconds per step that its own epochs recorded."""

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
    trained, saved = _trained_seconds(view), 0.0
    for trial in pruned:
        done = len(trial.intermediate_values)
        saved += max(0, usual - done) * trained.get(trial.number, _whole_seconds(trial)) / done
    return Saving(saved, len(pruned), usual)


def _trained_seconds(view: StudyView) -> dict[int, float]:
    """The training time that its epochs recorded, by trial."""
    seconds: dict[int, float] = {}
    for row in view.epochs:
        if row["seconds"] is not None and 0 <= row["seconds"] < math.inf:
            seconds[row["trial"]] = seconds.get(row["trial"], 0.0) + row["seconds"]
    return seconds


def _whole_seconds(trial: FrozenTrial) -> float:
    """For trials without recorded epochs: from start to end, which may include loading torch and the data."""
    recorded = record_of(trial).get("seconds")
    whole = trial.duration.total_seconds() if trial.duration else 0.0
    return whole if recorded is None else float(recorded)

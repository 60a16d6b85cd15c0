"""Optuna's own objects, for a script that asks trial.study for them: the trainer's only file that imports optuna.

A script that asks has imported optuna already; others never load it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from optuna.distributions import BaseDistribution, json_to_distribution
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

__all__ = ["best_of", "directions", "distributions", "frozen_trial"]


def directions(names: Iterable[str]) -> list[StudyDirection]:
    return [StudyDirection[name.upper()] for name in names]


def distributions(asked: Mapping[str, Any]) -> dict[str, BaseDistribution]:
    """Distributions by name, from Optuna's JSON."""
    return {name: json_to_distribution(json.dumps(one)) for name, one in asked.items()}


def best_of(trials: Iterable[FrozenTrial], direction: str) -> FrozenTrial:
    """The complete trial with the best value. Raises ValueError while there is none."""
    complete = [trial for trial in trials if trial.state is TrialState.COMPLETE and trial.values]
    if not complete:
        raise ValueError("No trials are completed yet.")
    pick = max if direction == "maximize" else min
    return pick(complete, key=lambda trial: float(trial.values[0]))


def frozen_trial(told: Mapping[str, Any]) -> FrozenTrial:
    """A trial as the coordinator's hpo.search.own_trials sends it."""
    shapes = {name: json_to_distribution(text) for name, (_, text) in told["params"].items()}
    return FrozenTrial(
        number=told["number"],
        state=TrialState[told["state"]],
        value=None,
        values=told["values"],
        datetime_start=_time(told["started"]),
        datetime_complete=_time(told["completed"]),
        params={name: shapes[name].to_external_repr(value) for name, (value, _) in told["params"].items()},
        distributions=shapes,
        user_attrs=told["user_attrs"],
        system_attrs={},
        intermediate_values={int(step): value for step, value in told["reports"]},
        trial_id=told["trial_id"],
    )


def _time(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)

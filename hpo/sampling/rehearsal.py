"""Whether ColumnTPE proposes what the installed Optuna's own TPESampler proposes: tried on a small study in memory."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.samplers import BaseSampler, TPESampler
from optuna.search_space import IntersectionSearchSpace
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from hpo.sampling.column_tpe import ColumnTPE
from hpo.sampling.observations import TrialObservations
from hpo.storage.claims import Claim
from hpo.storage.study_cache import StudyCache

__all__ = ["rehearse"]

STARTUP, TRIALS, SEED = 4, 12, 1

_SHARED: dict[str, BaseDistribution] = {
    "lr": FloatDistribution(1e-5, 1e-1, log=True),
    "units": IntDistribution(8, 64, step=8),
    "kind": CategoricalDistribution(("a", "b", "c")),
}
_CONDITIONAL: dict[str, BaseDistribution] = {"momentum": FloatDistribution(0.0, 0.9)}
"""Only every other trial has these, so TPE proposes them one by one."""


def rehearse() -> str:
    """Why ColumnTPE cannot stand in for TPESampler here; "" where it proposes the same. Takes milliseconds."""
    try:
        ours = _proposal(_column_tpe)
    except Exception as error:  # noqa: BLE001  # a changed Optuna may raise anything
        return f"{type(error).__name__}: {error}"
    stock = _proposal(lambda _: TPESampler(n_startup_trials=STARTUP, seed=SEED))
    return "" if ours == stock else "it proposes other values"


def _column_tpe(study: StudyCache) -> BaseSampler:
    columns = TrialObservations(study, study.directions[0])
    return ColumnTPE(columns, IntersectionSearchSpace(include_pruned=True), startup_trials=STARTUP, seed=SEED)


def _proposal(make: Callable[[StudyCache], BaseSampler]) -> tuple[dict[str, Any], dict[str, Any]]:
    """What a sampler proposes for the second of two running trials, and what it leaves for other processes."""
    study = StudyCache(0, "rehearsal", (StudyDirection.MAXIMIZE,))
    study.apply(_past(number) for number in range(TRIALS))
    for number in (TRIALS, TRIALS + 1):
        study.start(Claim(number, number, 1, None, True))
        view = optuna.Study(study_name="rehearsal", storage=study, sampler=make(study))
        trial = optuna.trial.Trial(view, number)
        for name, kind in {**_SHARED, **_CONDITIONAL}.items():
            _suggest(trial, name, kind)
    return trial.params, study.get_trial(TRIALS + 1).system_attrs


def _suggest(trial: optuna.trial.Trial, name: str, kind: BaseDistribution) -> None:
    if isinstance(kind, FloatDistribution):
        trial.suggest_float(name, kind.low, kind.high, log=kind.log)
    elif isinstance(kind, IntDistribution):
        trial.suggest_int(name, kind.low, kind.high, step=kind.step)
    elif isinstance(kind, CategoricalDistribution):
        trial.suggest_categorical(name, kind.choices)


def _past(number: int) -> FrozenTrial:
    kinds = {**_SHARED, **(_CONDITIONAL if number % 2 else {})}
    params: dict[str, Any] = {"lr": 10.0 ** -(1 + number % 5), "units": 8 * (1 + number % 8), "kind": "abc"[number % 3]}
    if number % 2:
        params["momentum"] = 0.07 * number
    return FrozenTrial(
        number=number,
        state=TrialState.PRUNED if number == 5 else TrialState.COMPLETE,
        value=None if number == 5 else (number * 7 % TRIALS) / TRIALS,
        datetime_start=None,
        datetime_complete=None,
        params=params,
        distributions=kinds,
        user_attrs={},
        system_attrs={},
        intermediate_values={1: 0.5},
        trial_id=number,
    )

"""Trials as an Optuna study in memory, because Optuna's own importances and plots read only a Study."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.storages import InMemoryStorage
from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial

from hpo.storage.optuna_schema import DIRECTION_OF

__all__ = ["in_memory_study"]


def in_memory_study(
    trials: Sequence[FrozenTrial],
    directions: Sequence[str],
    objectives: Sequence[int],
    shown: Callable[[str], str] = str,
) -> Study:
    """A study of these trials and of some of their objectives; names and categories pass through `shown`."""
    copies = [_copy(trial, objectives, shown) for trial in trials]
    return Study("in memory", _Frozen(copies, [DIRECTION_OF[name] for name in directions]))


class _Frozen(InMemoryStorage):
    """Read-only, and without the deep copy that `Study.add_trial` makes of each of ten thousand trials."""

    def __init__(self, trials: list[FrozenTrial], directions: list[StudyDirection]) -> None:
        super().__init__()
        self._frozen, self._directions = trials, directions

    def get_study_id_from_name(self, study_name: str) -> int:
        return 0

    def get_study_name_from_id(self, study_id: int) -> str:
        return "in memory"

    def get_study_directions(self, study_id: int) -> list[StudyDirection]:
        return self._directions

    def get_study_system_attrs(self, study_id: int) -> dict[str, object]:
        return {}

    def get_study_user_attrs(self, study_id: int) -> dict[str, object]:
        return {}

    def get_all_studies(self) -> list[Any]:
        return []

    def get_all_trials(self, study_id: int, deepcopy: bool = True, states: object = None) -> list[FrozenTrial]:
        return [trial for trial in self._frozen if states is None or trial.state in states]  # type: ignore[operator]


def _copy(trial: FrozenTrial, objectives: Sequence[int], shown: Callable[[str], str]) -> FrozenTrial:
    def name(value: object) -> object:
        return shown(value) if isinstance(value, str) else value

    distributions: dict[str, BaseDistribution] = {}
    for key, distribution in trial.distributions.items():
        if isinstance(distribution, CategoricalDistribution):
            distribution = CategoricalDistribution([name(choice) for choice in distribution.choices])  # type: ignore[misc]
        distributions[shown(key)] = distribution
    return FrozenTrial(
        number=trial.number,
        state=trial.state,
        value=None,
        values=[trial.values[index] for index in objectives] if trial.values else None,
        datetime_start=trial.datetime_start,
        datetime_complete=trial.datetime_complete,
        params={shown(key): name(value) for key, value in trial.params.items()},
        distributions=distributions,
        user_attrs={},
        system_attrs=trial.system_attrs,  # constraints live here
        intermediate_values={},
        trial_id=trial.number,
    )

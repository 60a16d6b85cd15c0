"""trial.study: read-only except for `stop` and `set_user_attr`, which Optuna's scripts call inside an objective."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from hpo.own_messages import Attribute, OwnTraining
from hpo.own_training.link import Link

__all__ = ["RemoteStudy"]


class RemoteStudy:
    """The study as the coordinator knows it when asked. Trials are optuna.trial.FrozenTrial objects."""

    _storage = None
    """Optuna's callback for Lightning asks what kind it is, and refuses several processes without its own database."""

    def __init__(self, own: OwnTraining, link: Link) -> None:
        self.study_name = own.study
        self._own, self._link = own, link

    @property
    def directions(self) -> list[Any]:
        from hpo.own_training.optuna_objects import directions

        return list(directions(self._own.directions))

    @property
    def direction(self) -> Any:
        if len(self._own.directions) > 1:
            raise RuntimeError("A single direction cannot be retrieved from a multi-objective study.")
        return self.directions[0]

    @property
    def metric_names(self) -> list[str]:
        return list(self._own.metrics)

    @property
    def trials(self) -> list[Any]:
        return self.get_trials()

    def get_trials(self, deepcopy: bool = True, states: Iterable[Any] | None = None) -> list[Any]:
        """Each trial of the study by number; running ones have what they reported so far."""
        from hpo.own_training.optuna_objects import frozen_trial

        wanted = None if states is None else set(states)
        trials = map(frozen_trial, self._link.ask("trials"))
        return [trial for trial in trials if wanted is None or trial.state in wanted]

    @property
    def best_trial(self) -> Any:
        """The complete trial with the best value. Raises ValueError while there is none."""
        if len(self._own.directions) > 1:
            raise RuntimeError("A single best trial cannot be retrieved from a multi-objective study.")
        from hpo.own_training.optuna_objects import best_of

        return best_of(self.get_trials(), self._own.directions[0])

    @property
    def best_value(self) -> float:
        return float(self.best_trial.values[0])

    @property
    def best_params(self) -> dict[str, Any]:
        return dict(self.best_trial.params)

    @property
    def user_attrs(self) -> dict[str, Any]:
        return dict(self._link.ask("user_attrs"))

    def set_user_attr(self, key: str, value: Any) -> None:
        json.dumps(value)
        self._link.tell(Attribute(self._link.trial_id, "study", key, value))

    def stop(self) -> None:
        """End the search here after the running trials have ended."""
        self._link.tell(Attribute(self._link.trial_id, "stop"))

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(f"hpo's trial.study has no {name}: the study is read-only inside an objective")

"""An Optuna storage that holds one study: its name, directions and attributes. StudyCache adds the trials."""

from __future__ import annotations

import copy
import threading
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

from optuna.storages import BaseStorage
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial

from hpo.storage.optuna_internals import frozen_study
from hpo.storage.write_batch import WriteBatch

__all__ = ["SingleStudyStorage"]


class SingleStudyStorage(BaseStorage):
    """What Optuna asks of a storage about studies. Subclasses add the trials."""

    def __init__(
        self,
        study_id: int,
        name: str,
        directions: Sequence[StudyDirection],
        user_attrs: Mapping[str, Any] | None = None,
        system_attrs: Mapping[str, Any] | None = None,
    ) -> None:
        self._study_id = study_id
        self._name = name
        self._directions = list(directions)
        self._user_attrs = dict(user_attrs or {})
        self._system_attrs = dict(system_attrs or {})
        self._lock = threading.RLock()
        self._writes = WriteBatch()

    def get_study_id_from_name(self, study_name: str) -> int:
        if study_name != self._name:
            raise KeyError(f"No such study {study_name}.")
        return self._study_id

    def get_study_name_from_id(self, study_id: int) -> str:
        self._check_study(study_id)
        return self._name

    def get_study_directions(self, study_id: int) -> list[StudyDirection]:
        self._check_study(study_id)
        return self._directions

    @property
    def directions(self) -> tuple[StudyDirection, ...]:
        return tuple(self._directions)

    def get_study_user_attrs(self, study_id: int) -> dict[str, Any]:
        self._check_study(study_id)
        with self._lock:
            return dict(self._user_attrs)

    def get_study_system_attrs(self, study_id: int) -> dict[str, Any]:
        self._check_study(study_id)
        with self._lock:
            return dict(self._system_attrs)

    def get_all_studies(self) -> list[Any]:
        with self._lock:
            attrs = copy.deepcopy((self._user_attrs, self._system_attrs))
        return [frozen_study(self._name, self._directions, *attrs, self._study_id)]

    def set_study_user_attr(self, study_id: int, key: str, value: Any) -> None:
        with self._lock:
            self._check_study(study_id)
            self._user_attrs[key] = value
            self._writes.study_user_attrs.setdefault(study_id, {})[key] = value

    def set_study_system_attr(self, study_id: int, key: str, value: Any) -> None:
        with self._lock:
            self._check_study(study_id)
            self._system_attrs[key] = value
            self._writes.study_system_attrs.setdefault(study_id, {})[key] = value

    # What only a database can do.

    def create_new_study(self, directions: Sequence[StudyDirection], study_name: str | None = None) -> NoReturn:
        raise NotImplementedError("this storage holds one study; make others with hpo.storage.queries.create_study")

    def delete_study(self, study_id: int) -> NoReturn:
        raise NotImplementedError("delete a study with hpo.storage.queries.delete_study")

    def create_new_trial(self, study_id: int, template_trial: FrozenTrial | None = None) -> NoReturn:
        raise NotImplementedError("claim trials with hpo.storage.queries.claim, then start() them here")

    def _check_study(self, study_id: int) -> None:
        if study_id != self._study_id:
            raise KeyError(f"No study with study_id {study_id} exists.")

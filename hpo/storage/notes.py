"""A trial as one text, so that a thousand hosts can each read it as one row: hpo_changes.note.

hpo leaves it there when it changes a trial. It is a copy: where there is none, or one that this reader does not take,
the trial is read from its own rows (reads.read_changes).
"""

from __future__ import annotations

import hashlib
import json
import math
from datetime import UTC, datetime
from typing import Any, TypedDict

from optuna.distributions import BaseDistribution
from optuna.trial import FrozenTrial, TrialState

from hpo.conforming import conforms
from hpo.decoding import Undecodable, decoded
from hpo.storage.optuna_internals import is_system_attribute
from hpo.storage.optuna_schema import LARGEST_NUMBER, distribution_text
from hpo.storage.reads import STATE_NAMED
from hpo.storage.save import local_time

__all__ = ["Notes"]

MOST = 6000
"""Characters. What is longer (a traceback, a thousand epochs) is seldom, and read from the trial's rows."""


class _Note(TypedDict, total=False):
    """params: name, number as Optuna stores it, digest of the distribution. begun: naive UTC, ISO 8601."""

    number: int
    state: str
    begun: str | None
    params: list[list[Any]]
    values: list[float] | None
    reports: list[list[float]]
    user: dict[str, Any]
    system: dict[str, Any]


_EMPTY: dict[str, Any] = {"begun": None, "params": [], "values": None, "reports": [], "user": {}, "system": {}}


class Notes:
    """Writes and reads the notes of one study. What a note says in place of a distribution, it must have met."""

    def __init__(self, objectives: int) -> None:
        self._objectives = objectives
        self._kinds: dict[str, BaseDistribution] = {}
        self._digests: dict[str, str] = {}

    def learn(self, distribution: BaseDistribution) -> str:
        """The digest of a distribution, which can be read from now on."""
        words = distribution_text(distribution)
        digest = self._digests.get(words)
        if digest is None:
            digest = self._digests[words] = hashlib.blake2b(words.encode(), digest_size=9).hexdigest()
            self._kinds[digest] = distribution
        return digest

    def written(self, trial: FrozenTrial) -> str | None:
        """The note of a trial; None for one that has to be read from its rows."""
        kinds, values = trial.distributions, trial.values
        start = trial.datetime_start
        note = {
            "number": trial.number,
            "state": trial.state.name,
            "begun": None if start is None else start.astimezone(UTC).replace(tzinfo=None).isoformat(),
            "params": [[name, kinds[name].to_internal_repr(value), self.learn(kinds[name])]
                       for name, value in trial.params.items()],
            "values": None if values is None else list(values),
            "reports": list(trial.intermediate_values.items()),
            "user": trial.user_attrs,
            "system": trial.system_attrs,
        }  # fmt: skip
        text = json.dumps(note, separators=(",", ":"))
        return text if len(text) <= MOST else None

    def read(self, trial_id: int, text: str | None, ended: datetime | None) -> FrozenTrial | None:
        """The trial of a note, as `read_changes` would give it; None where that must read it."""
        try:
            note = {**_EMPTY, **decoded(text or "null")}
            return self._trial(trial_id, note, ended) if conforms(note, _Note) else None
        except (Undecodable, ArithmeticError, LookupError, TypeError, ValueError):  # whatever somebody wrote there
            return None

    def _trial(self, trial_id: int, note: dict[str, Any], ended: datetime | None) -> FrozenTrial | None:
        state, number, values = STATE_NAMED[note["state"]], note["number"], note["values"]
        whole = values is not None and len(values) == self._objectives and not any(map(math.isnan, values))
        if not 0 <= number <= min(trial_id, LARGEST_NUMBER) or (state == TrialState.COMPLETE and not whole):
            return None
        kinds = {name: self._kinds[digest] for name, _, digest in note["params"]}
        begun = note["begun"]
        return FrozenTrial(
            number=number,
            state=state,
            value=None,
            datetime_start=None if begun is None else local_time(datetime.fromisoformat(begun)),
            datetime_complete=local_time(ended),
            params={name: kinds[name].to_external_repr(stored) for name, stored, _ in note["params"]},
            distributions=kinds,
            user_attrs=note["user"],
            system_attrs={key: value for key, value in note["system"].items() if is_system_attribute(key, value)},
            intermediate_values={int(step): float(value) for step, value in note["reports"]},
            trial_id=trial_id,
            values=values,
        )

"""Finished trials in little memory: a search of days holds every one of them."""

from __future__ import annotations

import json
import zlib
from array import array
from datetime import datetime
from typing import Any

from optuna.distributions import BaseDistribution
from optuna.trial import FrozenTrial, TrialState

from hpo.storage.attribute_block import AttributeBlock
from hpo.storage.optuna_internals import id_attribute, trial_id_of

__all__ = ["OF_TPE", "FinishedTrial", "SharedParts", "frozen", "packed_reports", "system_attribute"]

OF_TPE = "tpe:"
"""The prefix of the system attributes that TPE keeps with a trial while it runs."""


class SharedParts:
    """What the finished trials of a study have in common, kept once. Not thread-safe."""

    def __init__(self) -> None:
        self._spaces: dict[tuple[tuple[str, BaseDistribution], ...], dict[str, BaseDistribution]] = {}
        self._typical = b""

    def space(self, distributions: dict[str, BaseDistribution]) -> dict[str, BaseDistribution]:
        """Equal to `distributions`, and the same object for all trials with these."""
        try:
            return self._spaces.setdefault(tuple(distributions.items()), dict(distributions))
        except TypeError:  # choices that are lists have no hash
            return distributions

    def pack(self, attributes: dict[str, Any]) -> bytes:
        """JSON, compressed by what it shares with the first trial's."""
        if not attributes:
            return b""
        text = json.dumps(attributes).encode()
        self._typical = self._typical or text
        compressor = zlib.compressobj(1, zdict=self._typical)
        return compressor.compress(text) + compressor.flush()

    def unpack(self, packed: bytes) -> dict[str, Any]:
        if not packed:
            return {}
        return dict(json.loads(zlib.decompressobj(zdict=self._typical).decompress(packed)))


class FinishedTrial(FrozenTrial):
    """A finished trial as Optuna shows it, made from another. Each access unpacks the value again.

    It cannot be changed, so its properties have no setters. A copy of it, deep or not or by pickle, is an ordinary
    FrozenTrial. Attributes come back as JSON, as the database has them: a tuple as a list.
    """

    __slots__ = ("_of_tpe", "_other", "_parts", "_place", "_reports", "_results", "_space", "_suggested", "_trial_id",
                 "_user", "datetime_complete", "datetime_start", "number", "state")  # fmt: skip

    def __init__(self, trial: FrozenTrial, parts: SharedParts) -> None:
        self.number = trial.number
        self.state: TrialState = trial.state
        self.datetime_start: datetime | None = trial.datetime_start
        self.datetime_complete: datetime | None = trial.datetime_complete
        self._trial_id = trial_id_of(trial)
        self._parts = parts
        values, params, system = trial.values, trial.params, trial.system_attrs
        self._results = None if values is None else tuple(values)
        self._space = parts.space(trial.distributions)
        self._suggested = tuple(params[name] for name in self._space) if self._space.keys() == params.keys() else params
        self._reports = _reports_of(trial.intermediate_values)
        # For every proposal, Optuna's samplers read the other attributes of every trial.
        of_tpe = {key: value for key, value in system.items() if key.startswith(OF_TPE)}
        self._other = {key: value for key, value in system.items() if key not in of_tpe} or None
        self._user: bytes | AttributeBlock = parts.pack(trial.user_attrs)
        self._of_tpe = parts.pack(of_tpe)
        self._place = 0

    @classmethod
    def of_rows(
        cls,
        row: tuple[int, int, TrialState, datetime | None, datetime | None],
        *,
        parts: SharedParts,
        results: tuple[float, ...] | None,
        space: dict[str, BaseDistribution],
        suggested: tuple[Any, ...],
        reports: bytes,
        system: dict[str, Any],
        attributes: tuple[AttributeBlock, int],
    ) -> FinishedTrial:
        """As the constructor makes it, of what the constructor would make of another trial.

        row: id, number, state, start, end. suggested: in the order of `space`, which is shared. reports: see
        `packed_reports`. system: without those of TPE, which are in `attributes`: a block and the place in it
        """
        trial = cls.__new__(cls)
        trial._identify(row)
        trial._parts, trial._results, trial._space, trial._suggested = parts, results, space, suggested
        trial._reports, trial._other = reports, system or None
        trial._user, trial._place = attributes
        trial._of_tpe = b""
        return trial

    def _identify(self, row: tuple[int, int, TrialState, datetime | None, datetime | None]) -> None:
        self._trial_id, self.number, self.state, self.datetime_start, self.datetime_complete = row

    @property  # type: ignore[misc]
    def value(self) -> float | None:
        if self._results is not None and len(self._results) > 1:
            raise RuntimeError("This attribute is not available during multi-objective optimization.")
        return self._results[0] if self._results is not None else None

    @property
    def values(self) -> list[float] | None:
        return None if self._results is None else list(self._results)

    @property  # type: ignore[misc]
    def params(self) -> dict[str, Any]:
        if isinstance(self._suggested, dict):
            return dict(self._suggested)
        return dict(zip(self._space, self._suggested, strict=True))

    @property  # type: ignore[misc]
    def distributions(self) -> dict[str, BaseDistribution]:
        return self._space

    @property  # type: ignore[misc]
    def user_attrs(self) -> dict[str, Any]:
        if isinstance(self._user, AttributeBlock):
            return self._user.user(self._place)
        return self._parts.unpack(self._user)

    @property  # type: ignore[misc]
    def system_attrs(self) -> dict[str, Any]:
        if isinstance(self._user, AttributeBlock):
            of_tpe = self._user.of_tpe(self._place)
        else:
            of_tpe = self._parts.unpack(self._of_tpe)
        return {**of_tpe, **(self._other or {})}

    @property
    def constraints(self) -> dict[str, float]:
        if self._other is None:
            return {}
        return _frozen(self.number, self.state, None, None, {}, {}, None, {}, 0, {}, self._other).constraints

    @property
    def intermediate_values(self) -> dict[int, float]:  # type: ignore[override]
        if isinstance(self._reports, dict):
            return dict(self._reports)
        numbers = array("d", self._reports)
        return dict(enumerate(numbers[1:], start=int(numbers[0]))) if numbers else {}

    def __getattr__(self, name: str) -> Any:
        """Called for an attribute that is missing here: another Optuna may name its own differently."""
        if name == id_attribute():
            return self._trial_id
        raise AttributeError(name)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, FrozenTrial):
            return NotImplemented
        return frozen(self) == (frozen(other) if isinstance(other, FinishedTrial) else other)

    __hash__ = None  # type: ignore[assignment]  # as a FrozenTrial with parameters has none

    def __repr__(self) -> str:
        return repr(frozen(self))

    def __reduce__(self) -> tuple[Any, ...]:
        return _frozen, _arguments(self)


def frozen(trial: FrozenTrial) -> FrozenTrial:
    """An ordinary FrozenTrial of the same content."""
    return _frozen(*_arguments(trial))


def system_attribute(trial: FrozenTrial, key: str) -> Any:
    """What `trial.system_attrs.get(key)` is. Nothing is unpacked for it unless the attribute is one of TPE's."""
    if isinstance(trial, FinishedTrial) and not key.startswith(OF_TPE):
        return (trial._other or {}).get(key)
    return trial.system_attrs.get(key)


def _arguments(trial: FrozenTrial) -> tuple[Any, ...]:
    return (trial.number, trial.state, trial.datetime_start, trial.datetime_complete, trial.params,
            dict(trial.distributions), trial.values, trial.intermediate_values, trial_id_of(trial), trial.user_attrs,
            trial.system_attrs)  # fmt: skip


def _frozen(
    number: int,
    state: TrialState,
    start: datetime | None,
    end: datetime | None,
    params: dict[str, Any],
    distributions: dict[str, BaseDistribution],
    values: list[float] | None,
    reports: dict[int, float],
    trial_id: int,
    user: dict[str, Any],
    system: dict[str, Any],
) -> FrozenTrial:
    return FrozenTrial(number, state, None, start, end, params, distributions, user, system, reports, trial_id,
                       values=values)  # fmt: skip


def packed_reports(first: int, values: array[float]) -> bytes:
    """Values reported at steps that increase by one from `first`, as epochs do."""
    return (array("d", [first]) + values).tobytes()


def _reports_of(reports: dict[int, float]) -> bytes | dict[int, float]:
    """The first step and the values, if steps increase by one, as epochs do."""
    if not reports:
        return b""
    first = next(iter(reports))
    if list(reports) != list(range(first, first + len(reports))):
        return dict(reports)
    return packed_reports(first, array("d", reports.values()))

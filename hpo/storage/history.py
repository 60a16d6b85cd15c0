"""Reading a study for work: finished trials in bulk, from the rows of the database to what memory keeps of each.

A study of weeks has a million of them. `reads.read_changes` makes a FrozenTrial of each and decodes every attribute,
only to pack it again. Here each table is read by itself, and the user's attributes stay encoded. Unfinished trials, and
those that are not as hpo and Optuna leave them, are still read by `read_changes`.
"""

from __future__ import annotations

import math
import sys
from array import array
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Protocol

from optuna.distributions import BaseDistribution
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy import Connection, text

from hpo.decoding import Undecodable, decoded
from hpo.storage.attribute_block import AttributeBlock, Words
from hpo.storage.finished_trial import OF_TPE, FinishedTrial, SharedParts, packed_reports
from hpo.storage.optuna_internals import is_system_attribute
from hpo.storage.optuna_schema import (
    DIRECTIONS,
    INTERMEDIATE,
    NUMBERED,
    PARAMS,
    SYSTEM_ATTRS,
    TRIALS,
    USER_ATTRS,
    VALUES,
)
from hpo.storage.reads import LARGEST_ID, STATE_NAMED, read_changes
from hpo.storage.save import local_time

__all__ = ["Measure", "read_history"]

PAGE = 1000
"""Trials that are read at once. With many more, their rows would not fit into the memory in which PostgreSQL sorts."""
BLOCK = 64
"""Trials whose attributes are compressed together."""

_ATTRIBUTE = "key, coalesce(value_json, '')"
"""SQL: a key and a text, which other hands may have left out."""

Reader = tuple[BaseDistribution, Callable[[float], Any]]


class Measure(Protocol):
    """What others wrote is held against: hpo.sampling.intake.Intake."""

    def reader(self, name: str, stored: str) -> Reader | None: ...

    def attributes(self, attributes: Mapping[str, Any]) -> dict[str, Any]: ...

    def admit(self, trials: Iterable[FrozenTrial]) -> Iterator[FrozenTrial]: ...


def read_history(connection: Connection, study_id: int, measure: Measure) -> Iterator[FrozenTrial]:
    """Every trial of the study as `measure.admit` leaves it; those that need a closer look last. PostgreSQL only."""
    history, left = _History(connection, study_id, measure), []
    # While one page is made into trials, the database gathers the next. Nobody else uses the connection meanwhile.
    with ThreadPoolExecutor(1, "hpo-history") as ahead:
        page = ahead.submit(_read, connection, study_id, -1).result()
        while page is not None:
            following = ahead.submit(_read, connection, study_id, page.trials[-1][0])
            finished, odd = history.finished(page)
            left += odd
            yield from finished
            page = following.result()
    for start in range(0, len(left), PAGE):
        yield from measure.admit(read_changes(connection, study_id, LARGEST_ID, left[start : start + PAGE]))


@dataclass
class _Page:
    """Rows as the database gives them: trials by id, the rest in the order in which it was written, which is quick to
    sort by."""

    trials: list[Any]
    params: list[Any]
    values: dict[int, Any]
    reports: dict[int, Any]
    user: list[Any]
    system: list[Any]


def _read(connection: Connection, study_id: int, last: int) -> _Page | None:
    """The next PAGE trials after the id `last`; None behind the last one."""
    bounds = {"study": study_id, "last": last, "most": PAGE}
    trials = _rows(
        connection,
        f"SELECT trial_id, number, state::text, datetime_start, datetime_complete FROM {TRIALS} t"
        f" WHERE study_id = :study AND trial_id > :last AND {NUMBERED} ORDER BY trial_id LIMIT :most",
        bounds,
    )
    if not trials:
        return None
    bounds = {"study": study_id, "first": trials[0][0], "last": trials[-1][0]}

    def rows(table: str, columns: str, rest: str) -> list[Any]:
        # The range is said twice, so that the planner takes the index on either side.
        return _rows(
            connection,
            f"SELECT trial_id, {columns} FROM {table} WHERE trial_id BETWEEN :first AND :last AND trial_id IN"
            f" (SELECT trial_id FROM {TRIALS} WHERE study_id = :study AND trial_id BETWEEN :first AND :last) {rest}",
            bounds,
        )

    return _Page(
        trials,
        rows(PARAMS, "param_name, param_value, distribution_json", "AND param_name IS NOT NULL ORDER BY param_id"),
        {row[0]: row[1] for row in rows(VALUES, _packed("value", "objective"), "GROUP BY trial_id")},
        {row[0]: row[1:] for row in rows(INTERMEDIATE, "min(step), max(step), count(*), "
                                         + _packed("intermediate_value", "step"), "GROUP BY trial_id")},
        rows(USER_ATTRS, _ATTRIBUTE, "AND key IS NOT NULL ORDER BY trial_user_attribute_id"),
        rows(SYSTEM_ATTRS, _ATTRIBUTE, "AND key IS NOT NULL ORDER BY trial_system_attribute_id"),
    )  # fmt: skip


def _rows(connection: Connection, statement: str, bounds: Mapping[str, int]) -> list[Any]:
    """As the driver has them: SQLAlchemy's rows take as long again."""
    return list(connection.execute(text(statement), bounds).cursor.fetchall())


def _packed(column: str, order: str) -> str:
    """SQL: the numbers of `column` as `as_value` reads them, eight bytes each."""
    special = f"CASE {column}_type WHEN 'INF_POS' THEN 'Infinity' WHEN 'INF_NEG' THEN '-Infinity' ELSE 'NaN' END"
    return f"string_agg(float8send(coalesce({column}, ({special})::float8)), ''::bytea ORDER BY {order})"


def _numbers(packed: bytes) -> array[float]:
    numbers = array("d")
    numbers.frombytes(packed)
    if sys.byteorder == "little":  # a server sends the big end first
        numbers.byteswap()
    return numbers


@dataclass(frozen=True, eq=False)
class _Parameter:
    """A name and a distribution that trials share. Equal to itself alone, so that it is hashed at once."""

    name: str
    kind: BaseDistribution
    value: Callable[[float], Any]


@dataclass
class _Attributes:
    """Of one trial, undecoded."""

    user: Words = field(default_factory=list)
    of_tpe: Words = field(default_factory=list)
    other: Words = field(default_factory=list)


class _History:
    """Makes trials of pages. What trials have in common is made once."""

    def __init__(self, connection: Connection, study_id: int, measure: Measure) -> None:
        count = text(f"SELECT count(*) FROM {DIRECTIONS} WHERE study_id = :study")
        self._objectives = int(connection.execute(count, {"study": study_id}).scalar_one())
        self._measure = measure
        self._parts = SharedParts()
        self._parameters: dict[tuple[str, str], _Parameter | None] = {}
        self._spaces: dict[tuple[_Parameter, ...], dict[str, BaseDistribution]] = {}

    def finished(self, page: _Page) -> tuple[list[FinishedTrial], list[int]]:
        """(the finished trials of the page, ids of those that need a closer look)."""
        params, attributes = self._params_of(page.params), _attributes_of(page)
        found: list[FinishedTrial] = []
        odd: list[int] = []
        for start in range(0, len(page.trials), BLOCK):
            rows = page.trials[start : start + BLOCK]
            words = [attributes[row[0]] for row in rows]
            block = AttributeBlock([(each.user, each.of_tpe) for each in words])
            for place, (row, each) in enumerate(zip(rows, words, strict=True)):
                trial = self._trial(row, page, params[row[0]], each.other, (block, place))
                if trial is None:
                    odd.append(row[0])
                else:
                    found.append(trial)
        return found, odd

    def _trial(
        self, row: Any, page: _Page, params: list[Any] | None, system: Words, attributes: tuple[AttributeBlock, int]
    ) -> FinishedTrial | None:
        trial_id, number, state, start, end = row
        state = STATE_NAMED[state]
        results = tuple(_numbers(page.values[trial_id])) if trial_id in page.values else None
        if params is None or not state.is_finished() or not self._is_whole(state, results):
            return None
        reports = b""
        if trial_id in page.reports:
            first, last, count, packed = page.reports[trial_id]
            if last - first + 1 != count:
                return None
            reports = packed_reports(first, _numbers(packed))
        return FinishedTrial.of_rows(
            (trial_id, number, state, local_time(start), local_time(end)),
            parts=self._parts,
            results=results,
            space=self._space(tuple(params[::2])),
            suggested=tuple(params[1::2]),
            reports=reports,
            system=self._measure.attributes(_system(system)) if system else {},
            attributes=attributes,
        )

    def _is_whole(self, state: TrialState, results: Sequence[float] | None) -> bool:
        if state != TrialState.COMPLETE:
            return True
        return results is not None and len(results) == self._objectives and not any(map(math.isnan, results))

    def _params_of(self, rows: Iterable[Any]) -> defaultdict[int, list[Any] | None]:
        """By trial, parameters and their values by turns; None where one is not as its row has it."""
        found: defaultdict[int, list[Any] | None] = defaultdict(list)
        for trial_id, name, number, words in rows:
            try:
                parameter = self._parameters[name, words]
            except KeyError:
                parameter = self._parameter(name, words)
            given = found[trial_id]
            if given is None:
                continue
            try:
                given += (parameter, parameter.value(number))  # type: ignore[union-attr]  # None: that goes there, too
            except Exception:  # noqa: BLE001  # Optuna's reader, given a number that may be anything
                found[trial_id] = None
        return found

    def _parameter(self, name: str, words: str) -> _Parameter | None:
        reader = self._measure.reader(name, words)
        parameter = None if reader is None else _Parameter(name, *reader)
        self._parameters[name, words] = parameter
        return parameter

    def _space(self, parameters: tuple[_Parameter, ...]) -> dict[str, BaseDistribution]:
        try:
            return self._spaces[parameters]
        except KeyError:
            space = self._spaces[parameters] = {each.name: each.kind for each in parameters}
            return space


def _attributes_of(page: _Page) -> defaultdict[int, _Attributes]:
    found: defaultdict[int, _Attributes] = defaultdict(_Attributes)
    current, user = None, Words()
    for trial_id, key, words in page.user:
        if trial_id != current:
            current, user = trial_id, found[trial_id].user
        user.append(key)
        user.append(words)
    for trial_id, key, words in page.system:
        attributes = found[trial_id]
        (attributes.of_tpe if key.startswith(OF_TPE) else attributes.other).extend((key, words))
    return found


def _system(words: Words) -> dict[str, Any]:
    found = {}
    for key, each in zip(words[::2], words[1::2], strict=True):
        with suppress(Undecodable):
            value = decoded(each)
            if is_system_attribute(key, value):
                found[key] = value
    return found

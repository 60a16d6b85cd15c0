"""A study's table against the one that its trials were trained under: what only widened, and what cannot be kept.

The earlier table is known as text, as hpo.study.declaration wrote it.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from hpo.errors import StudyError
from hpo.study.parameters import UNSAID, Categorical, Float, Int, Parameter
from hpo.study.recipe import RECIPE
from hpo.wording import shortened

__all__ = ["RowChange", "TableChange", "compared", "numeric_row"]

_NUMERIC = re.compile(r"(?P<low>\S+) \.\. (?P<high>\S+?)(?P<log> log)?(?: step (?P<step>\S+))?")
_NO_LITERAL = (ValueError, SyntaxError, TypeError, OverflowError, MemoryError, RecursionError)
"""What ast.literal_eval raises for a text that is none; whoever writes to the database may have put any there."""
_CHOOSES = ("(sampler)", "(pruner)", "(search)", "(repeat)")
"""What decides which trials come, and not what one means."""


@dataclass(frozen=True)
class RowChange:
    """A row of the table that differs. `why`: the reason why it cannot be kept; "" for one that can."""

    row: str
    before: str
    now: str
    why: str = ""

    def __str__(self) -> str:
        return f"{shortened(self.row)}  {shortened(self.before or '-', 200)}   ->   {shortened(self.now or '-', 200)}"


@dataclass(frozen=True)
class TableChange:
    """How a table differs from the one before.

    added:  rows that are searched now and were not, with the value that every trial so far has had; a list for a row
            that is per another
    epochs: of each trial before; None where they are as they were
    """

    changes: tuple[RowChange, ...]
    added: Mapping[str, Any] = field(default_factory=dict)
    epochs: int | None = None

    @property
    def lost(self) -> tuple[RowChange, ...]:
        """The changes under which earlier trials would mean something else, or nothing."""
        return tuple(change for change in self.changes if change.why)


def compared(study: Any, stored: Mapping[str, str]) -> TableChange:
    """A hpo.study.study.Study against its table as it is stored, row by row, in the order of the table."""
    now = study.declaration()
    stored = {row: text if isinstance(text, str) else repr(text) for row, text in stored.items()}  # may be any JSON
    names = [*now, *(row for row in stored if row not in now)]
    rows, added, epochs = _Rows(study, stored), {}, None
    changes = []
    for name in names:
        before, after = stored.get(name, ""), now.get(name, "")
        if before == after:
            continue
        why = _protocol(name, before, after) if name.startswith("(") else rows.why(name, before, after)
        changes.append(RowChange(name, before, after, why))
        if name == "(epochs)" and not why:
            epochs = int(before)
        if not why and isinstance(study.rows.rows.get(name), Parameter) and not _searched(before):
            added[name] = rows.value_before(name, before)
    return TableChange(tuple(changes), added, epochs)


def numeric_row(text: str) -> Int | Float | None:
    """The range that a row of numbers declared, from its text, without its conditions; None where there is none."""
    found = _NUMERIC.fullmatch(text)
    try:
        if found is None:
            return None
        low, high = ast.literal_eval(found["low"]), ast.literal_eval(found["high"])
        steps = {} if found["step"] is None else {"step": ast.literal_eval(found["step"])}
        whole = type(low) is int and type(high) is int
        return (Int if whole else Float)(low, high, log=bool(found["log"]), **steps)
    except (*_NO_LITERAL, StudyError):
        return None


def _protocol(name: str, before: str, now: str) -> str:
    if name in _CHOOSES:
        grid = any(text.startswith("Grid(") for text in (before, now))
        return "a grid is laid out when its study begins" if grid else ""
    if name != "(epochs)":
        return "it decides what a trial means"
    whole = before.isascii() and before.isdecimal() and len(before) < 10
    return "" if whole and int(now) > int(before) else "trials so far trained for longer"


class _Rows:
    """The rows of the space, those of now as such and those before as text."""

    def __init__(self, study: Any, stored: Mapping[str, str]) -> None:
        self._study, self._stored = study, stored
        defaults = {name: setting.unset for name, setting in RECIPE.items() if setting.unset is not None}
        self._defaults: dict[str, Any] = {} if study.brings_training else defaults | study.resolve({})

    def why(self, name: str, before: str, now: str) -> str:
        """Why trials that were trained under the row `before` have no place under `now`; "" where they have."""
        row = self._study.rows.rows.get(name)
        if not now:
            return self._gone(name, before)
        if not before or not _searched(before):
            return self._new(name, before, row)
        if not isinstance(row, Parameter):
            return "earlier trials have other values"
        return self._widened(row, before)

    def value_before(self, name: str, before: str) -> Any:
        """What every trial had where `name` was no row, or a fixed one; UNSAID where nothing says it."""
        if before:
            try:
                return ast.literal_eval(before.removesuffix(" fixed"))
            except _NO_LITERAL:
                return UNSAID
        row = self._study.rows.rows[name]
        said = row.before if isinstance(row, Parameter) else UNSAID
        return self._defaults.get(name, said)

    def _gone(self, name: str, before: str) -> str:
        if _searched(before):
            return "earlier trials have it"
        value = self.value_before(name, before)
        return "" if name in self._defaults and _same(value, self._defaults[name]) else "earlier trials have it"

    def _new(self, name: str, before: str, row: Any) -> str:
        value = self.value_before(name, before)
        if value is UNSAID:
            return "nothing says what earlier trials had for it; .added(value) does"
        if not isinstance(row, Parameter):
            same = _same(value, row)
            return "" if same else f"earlier trials have {value!r}"
        if row.before is not UNSAID and not _same(row.before, value):
            return f"earlier trials have {value!r}, and .added() says {row.before!r}"
        values = value if row.repeat and isinstance(value, list | tuple) else [value]
        outside = [each for each in values if not row.contains(each)]
        return f"earlier trials have {outside[0]!r}, which is outside it" if outside else ""

    def _widened(self, row: Parameter, before: str) -> str:
        core, per, conditions = _split(before)
        if per != (row.repeat or ""):
            return "it is per another row"
        if isinstance(row, Categorical):
            why = _choices(row, core)
        else:
            old = numeric_row(core)
            why = _range(row, old) if old is not None else "earlier trials have another kind of value"
        return why or self._conditions(row, conditions)

    def _conditions(self, row: Parameter, before: Mapping[str, tuple[str, ...]]) -> str:
        """A row may wait for more values than before only if no earlier trial can have one of them."""
        now = {name: tuple(map(str, values)) for name, values in row.conditions}
        if list(now) != list(before):
            return "it depends on other rows"
        for name, values in now.items():
            if not set(before[name]) <= set(values):
                return f"earlier trials have it for other values of {name}"
            text = self._stored.get(name, "")
            core, _, _ = _split(text)
            could = set(core.split(" | ")) if _searched(text) else {str(self.value_before(name, text))}
            more = [value for value in values if value not in before[name]]
            if numeric_row(core) is not None and more:
                return f"earlier trials may have {name}={more[0]}, and not this row"
            if known := could & set(more):
                return f"earlier trials may have {name}={min(known)}, and not this row"
        return ""


def _choices(row: Categorical, before: str) -> str:
    named = {str(choice) for choice in row.choices}
    if len(named) < len(row.choices) or any(" | " in name for name in named):
        return "its choices cannot be told apart in words"
    if numeric_row(before) is not None:
        return "earlier trials have another kind of value"
    gone = [choice for choice in before.split(" | ") if choice not in named]
    return f"narrower: earlier trials may have {shortened(gone[0])}" if gone else ""


def _range(row: Parameter, before: Int | Float) -> str:
    assert isinstance(row, Int | Float)
    if type(row) is not type(before):
        return "earlier trials have another kind of number"
    if row.low > before.low or row.high < before.high:
        return "narrower: earlier trials may lie outside it"
    if before.low == before.high:
        return "" if row.contains(before.low) else "earlier trials lie between its steps"
    stepped = isinstance(row, Int) or row.step is not None
    if stepped and not (before.step and row.contains(before.low) and row.contains(before.low + before.step)):
        return "earlier trials may lie between its steps"
    return ""


def _searched(text: str) -> bool:
    return bool(text) and not text.endswith(" fixed")


def _split(text: str) -> tuple[str, str, dict[str, tuple[str, ...]]]:
    """(the values, the row that it is per or "", the conditions) of a row's text."""
    core, *conditions = text.split(" when ")
    core, _, per = core.partition(" per ")
    return core, per, dict(_conditions(conditions))


def _conditions(words: list[str]) -> Iterator[tuple[str, tuple[str, ...]]]:
    for word in words:
        name, _, values = word.partition("=")
        yield name, tuple(values.split("|"))


def _same(one: Any, other: Any) -> bool:
    listed = [list(each) if isinstance(each, tuple) else each for each in (one, other)]
    return bool(listed[0] == listed[1]) and isinstance(one, bool) == isinstance(other, bool)

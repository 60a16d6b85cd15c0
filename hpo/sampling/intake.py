"""What others wrote into a study, as samplers and pruners may see it, and which of their trials cannot be trained.

Optuna's API lets anybody write into a study of ours: a trial enqueued with values that no row has, one that plain
Optuna asked for with distributions of its own, attributes of any kind. None of that may end a coordinator.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import lru_cache
from typing import Any

from optuna.distributions import BaseDistribution, FloatDistribution
from optuna.trial import FrozenTrial

from hpo.decoding import Undecodable, decoded_mapping
from hpo.errors import near_miss
from hpo.sampling.distributions import distribution
from hpo.storage.optuna_schema import FIXED_PARAMS, distribution_from, parameter_value
from hpo.study.parameters import Categorical, Float, Int, Parameter, Scalar
from hpo.study.space import Space
from hpo.study.study import Study
from hpo.wording import shortened

__all__ = ["Intake", "OpenIntake", "intake_for", "trusted_study_attributes"]

_PROPOSED = re.compile(r"(\w+:relative_params):\d+")
"""System attributes in which TPE and the Gaussian process leave, as text, what they propose for a running trial."""
_RUNG = re.compile(r"completed_rung_\d+")
"""System attributes in which successive halving keeps a trial's value at each rung."""
_LAST_SAMPLE = re.compile(r"qmc \(.*\)'s last sample id", re.DOTALL)
"""The study's system attribute in which quasi-random search counts the points it has given out."""


class Intake:
    """Checks what others wrote about a study's trials against its rows."""

    def __init__(self, rows: Space) -> None:
        self._rows = rows
        self._distributions: dict[str, BaseDistribution] = {
            name: distribution(row) for name, row in rows.searched.items()
        }

    def refusal(self, trial: FrozenTrial) -> str:
        """Why `trial`, as stored, cannot be trained: it has, or was enqueued with, a parameter that is not a row or a
        value outside its row. "" if it can be trained. Call it before `admit`, which removes the reason.
        """
        wanted = trial.system_attrs.get(FIXED_PARAMS, {})
        if not isinstance(wanted, Mapping):
            return f"it was enqueued with {_shown(wanted)}, which is no table of parameters"
        for name, value in (*wanted.items(), *trial.params.items()):
            if name in self._rows.fixed:
                fixed = self._rows.fixed[name]
                if value != fixed:
                    return f"it gives {name}={_shown(value)}, but its row is fixed to {fixed!r}"
                continue
            found = self.row_of(name)
            if found is None:
                known = near_miss(name[:60], self._rows.rows)
                return f"it gives {_shown(name)}, which is no parameter of the study ({known})"
            if not _fits(found[1], value):
                return f"it gives {name}={_shown(value)}, outside its row: {found[1]}"
        return ""

    def admit(self, trials: Iterable[FrozenTrial]) -> Iterator[FrozenTrial]:
        """`trials` without what no sampler or pruner of this study could read. Each is changed in place when the
        iteration reaches it."""
        return map(self._admit, trials)

    def reader(self, name: str, stored: str) -> tuple[BaseDistribution, Callable[[float], Any]] | None:
        """How numbers of parameter `name`, stored with the distribution `stored`, are read: the row's distribution, and
        a function of the number. It raises where `admit` would leave the parameter out. None: `admit` always would.
        """
        found, kind = self.row_of(name), _distribution_of(stored)
        if found is None or kind is None:
            return None
        base, row = found

        def read(number: float) -> Scalar:
            value = parameter_value(kind, number)
            if not _fits(row, value):
                raise ValueError(_shown(value))
            return _as_declared(row, value)

        repeats = not isinstance(row, Float)
        return self._distributions[base], lru_cache(maxsize=4096)(read) if repeats else read

    def _admit(self, trial: FrozenTrial) -> FrozenTrial:
        rows = {name: self.row_of(name) for name in trial.params}
        kept = {name: row for name, row in rows.items() if row and _fits(row[1], trial.params[name])}
        trial.params = {name: _as_declared(row, trial.params[name]) for name, (_, row) in kept.items()}
        trial.distributions = {name: self._distributions[base] for name, (base, _) in kept.items()}
        trial.system_attrs = self.attributes(trial.system_attrs)
        return trial

    def attributes(self, attributes: Mapping[str, Any]) -> dict[str, Any]:
        """System attributes of a trial without those that no sampler or pruner of this study could read."""
        proposed = {match[1] for key in attributes if (match := _PROPOSED.fullmatch(key))}
        lost = {prefix for prefix in proposed if not self._is_proposal(prefix, attributes)}
        kept: dict[str, Any] = {}
        for key, value in attributes.items():
            match = _PROPOSED.fullmatch(key)
            if key == FIXED_PARAMS:
                kept[key] = self._fixed(value)
            elif not (match and match[1] in lost) and (not _RUNG.fullmatch(key) or _is_number(value)):
                kept[key] = value
        return kept

    def _fixed(self, given: Any) -> dict[str, Any]:
        """What a trial was enqueued with, in the types of its rows: 3.0 from a browser is the integer 3."""
        if not isinstance(given, Mapping):
            return {}
        rows = {name: self.row_of(name) for name in given}
        return {
            name: _as_declared(row[1], given[name]) for name, row in rows.items() if row and _fits(row[1], given[name])
        }

    def _is_proposal(self, prefix: str, attributes: Mapping[str, Any]) -> bool:
        """Whether the pieces under `prefix`, joined as a sampler does, give every name a value of its row."""
        pieces: list[Any] = []
        while piece := attributes.get(f"{prefix}:{len(pieces)}"):
            pieces.append(piece)
        try:
            named = decoded_mapping("".join(pieces))
        except (TypeError, Undecodable):
            return False
        rows = {name: self.row_of(name) for name in named}
        return all(row is not None and _fits(row[1], named[name]) for name, row in rows.items())

    def row_of(self, name: object) -> tuple[str, Parameter] | None:
        """(name of the row, the row) that a parameter of Optuna's name belongs to: hidden_units_3 to hidden_units."""
        searched = self._rows.searched
        if not isinstance(name, str):
            return None
        base, _, index = name.rpartition("_")
        if (row := searched.get(name)) is not None and not row.repeat:
            return name, row
        row = searched.get(base)
        if row is None or not row.repeat or not re.fullmatch(r"0|[1-9][0-9]{0,6}", index):
            return None
        count = self._rows.rows[row.repeat]
        most = count.high if isinstance(count, Int) else count
        return (base, row) if int(index) < most else None


class OpenIntake(Intake):
    """The same for a user's own function, which suggests as it runs: there are no rows, and anything that Optuna reads
    as a parameter is one. If a function gets an enqueued value that it cannot use, it says so itself."""

    def __init__(self) -> None:
        super().__init__(Space({}))

    def refusal(self, trial: FrozenTrial) -> str:
        wanted = trial.system_attrs.get(FIXED_PARAMS, {})
        return "" if isinstance(wanted, Mapping) else f"it was enqueued with {_shown(wanted)}, no table of parameters"

    def reader(self, name: str, stored: str) -> tuple[BaseDistribution, Callable[[float], Any]] | None:
        kind = _distribution_of(stored)
        if kind is None:
            return None

        def read(number: float) -> Any:
            return parameter_value(kind, number)

        return kind, read

    def _admit(self, trial: FrozenTrial) -> FrozenTrial:
        for name, kind in list(trial.distributions.items()):
            if isinstance(kind, FloatDistribution) and not _is_finite(trial.params[name]):
                del trial.params[name], trial.distributions[name]
        trial.system_attrs = self.attributes(trial.system_attrs)
        return trial

    def _fixed(self, given: Any) -> dict[str, Any]:
        return {str(name): value for name, value in given.items()} if isinstance(given, Mapping) else {}

    def _is_proposal(self, prefix: str, attributes: Mapping[str, Any]) -> bool:
        return False  # Optuna's samplers propose anew


def intake_for(study: Study) -> Intake:
    """The check for what others wrote into `study`."""
    return OpenIntake() if study.define_by_run else Intake(study.rows)


def trusted_study_attributes(attributes: Mapping[str, Any], trials: int) -> dict[str, Any]:
    """A study's system attributes without a count of quasi-random points that `trials` cannot have used.

    A sampler skips all points before its own, so a huge number would keep it busy for as long.
    """
    return {
        key: value
        for key, value in attributes.items()
        if not _LAST_SAMPLE.fullmatch(key) or (type(value) is int and -1 <= value <= 2 * trials + 1000)
    }


def _distribution_of(stored: str) -> BaseDistribution | None:
    try:
        return distribution_from(stored)
    except Exception:  # noqa: BLE001  # Optuna's reader, given a text that may be anything
        return None


def _fits(row: Parameter, value: Any) -> bool:
    return row.contains(_number_of(row, value))


def _as_declared(row: Parameter, value: Any) -> Scalar:
    """A value that fits `row`, in the row's type."""
    if isinstance(row, Categorical):
        alike = [
            choice for choice in row.choices if choice == value and isinstance(choice, bool) == isinstance(value, bool)
        ]
        return next((choice for choice in alike if type(choice) is type(value)), alike[0])
    scalar: Scalar = _number_of(row, value)
    return scalar


def _number_of(row: Parameter, value: Any) -> Any:
    """A number in the row's type: JSON does not distinguish 3.0 from 3, and Optuna stores both alike."""
    if isinstance(row, Int) and isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(row, Float) and type(value) is int and abs(value) <= 2**53:
        return float(value)
    return value


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_finite(value: Any) -> bool:
    return _is_number(value) and math.isfinite(value)


def _shown(value: Any) -> str:
    return shortened(repr(value))

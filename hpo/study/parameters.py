"""The rows of a search space: `Int`, `Float` and `Categorical`, each with `.per` and `.when`. No torch, no optuna."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Any, Self

from hpo.errors import StudyError
from hpo.study.beliefs import Prior, check_prior, prior_of

__all__ = ["UNSAID", "Categorical", "Float", "Int", "Parameter", "Scalar"]

Scalar = str | int | float | bool | None


class _Unsaid:
    def __repr__(self) -> str:
        return "not said"

    def __reduce__(self) -> str:
        return "UNSAID"  # the same one in every process


UNSAID: Any = _Unsaid()
"""Where None would be a value."""

MOST_STEPS = 10_000_000
"""The most steps of a Float: with more, rounding can no longer tell one from the next."""


@dataclass(frozen=True)
class Parameter:
    """What every row of a space shares: repetition, conditions, what the user believes of it before the first trial
    (`prior=`, a value or a Prior), and what trials had before there was the row."""

    repeat: str | None = field(default=None, kw_only=True)
    conditions: tuple[tuple[str, tuple[Scalar, ...]], ...] = field(default=(), kw_only=True)
    before: Any = field(default=UNSAID, kw_only=True, compare=False, repr=False)
    prior: Any = field(default=UNSAID, kw_only=True, compare=False, repr=False)

    @property
    def belief(self) -> Prior | None:
        """What the user believes of it; None where nothing was said."""
        return self.prior if isinstance(self.prior, Prior) else None

    def per(self, count: str) -> Self:
        """Search one value for each of `count`, which is another row: an Int or a fixed whole number."""
        return self._with(repeat=count)

    def when(self, **conditions: Scalar | Sequence[Scalar]) -> Self:
        """Search this row only where each named row has the value, or one of the values, given here."""
        if not conditions:
            raise StudyError(".when() needs a condition", next='write for example .when(optimizer="sgd")')
        rows = tuple((name, _as_values(values)) for name, values in conditions.items())
        return self._with(conditions=self.conditions + rows)

    def added(self, before: Scalar) -> Self:
        """Say that trials which ran before this row was added to the study (`hpo run --evolve`) had the value `before`.
        Only training of your own needs it: what hpo's recipe and models take without a row is known."""
        if not self.contains(before):
            raise StudyError(
                f".added({before!r}) is outside its row: {self}",
                next="widen the row: trials that had that value need a place in it",
            )
        return self._with(before=before)

    def _with(self, **changes: Any) -> Self:
        return replace(self, **changes)

    def _keep_prior(self) -> None:
        if self.prior is not UNSAID:
            object.__setattr__(self, "prior", prior_of(self.prior))
            check_prior(self, self.prior)

    def contains(self, value: Any) -> bool:
        raise NotImplementedError

    def ends(self) -> tuple[Scalar, ...]:
        """The values at the edges: both ends of a range, every choice of a categorical."""
        raise NotImplementedError

    def values(self) -> Iterable[Scalar] | None:
        """Every possible value, in order; None for a range without steps."""
        raise NotImplementedError

    def describe(self) -> str:
        raise NotImplementedError

    def __str__(self) -> str:
        text = self.describe()
        if self.repeat:
            text += f" per {self.repeat}"
        for name, values in self.conditions:
            text += f" when {name}={'|'.join(str(value) for value in values)}"
        return text


@dataclass(frozen=True)
class Int(Parameter):
    """A whole number in low .. high, both included."""

    low: int
    high: int
    log: bool = False
    step: int = 1

    def __post_init__(self) -> None:
        for name, value in (("low", self.low), ("high", self.high), ("step", self.step)):
            if isinstance(value, bool) or not isinstance(value, int):
                raise StudyError(f"Int({self.low}, {self.high}): {name}={value!r} is not a whole number")
            if abs(value) > 2**53:
                raise StudyError(
                    f"Int(...): {name} is beyond 2**53, where Optuna no longer stores whole numbers exactly"
                )
        _check_range("Int", self.low, self.high, self.log, self.step if self.step != 1 else None)
        self._keep_prior()

    def contains(self, value: Any) -> bool:
        if not isinstance(value, int) or isinstance(value, bool):
            return False
        return bool(self.low <= value <= self.high and (value - self.low) % self.step == 0)

    def ends(self) -> tuple[Scalar, ...]:
        return (self.low, self.high - (self.high - self.low) % self.step)

    def values(self) -> range:
        return range(self.low, self.high + 1, self.step)

    def describe(self) -> str:
        return f"{self.low} .. {self.high}{' log' if self.log else ''}{f' step {self.step}' if self.step != 1 else ''}"


@dataclass(frozen=True)
class Float(Parameter):
    """A number in low .. high, both included."""

    low: float
    high: float
    log: bool = False
    step: float | None = None

    def __post_init__(self) -> None:
        for name, value in (("low", self.low), ("high", self.high), ("step", self.step)):
            if name == "step" and value is None:
                continue
            if isinstance(value, bool) or not isinstance(value, (int, float)) or not _is_finite(value):
                raise StudyError(f"Float({self.low}, {self.high}): {name}={value!r} is not a finite number")
            object.__setattr__(self, name, float(value))
        _check_range("Float", self.low, self.high, self.log, self.step)
        if self.step is not None and (self.high - self.low) / self.step > MOST_STEPS:
            call = f"Float({self.low}, {self.high}, step={self.step})"
            raise StudyError(f"{call} has more than {MOST_STEPS:,} steps", next="leave step out")
        self._keep_prior()

    def contains(self, value: Any) -> bool:
        number = isinstance(value, (int, float)) and not isinstance(value, bool)
        if not number or not self.low <= value <= self.high:
            return False
        if self.step is None:
            return True
        steps = (value - self.low) / self.step
        return bool(abs(steps - round(steps)) < 1e-8)

    def ends(self) -> tuple[Scalar, ...]:
        return (self.low, self._at(self._steps()))

    def values(self) -> Iterable[float] | None:
        if self.step is None:
            return (self.low,) if self.low == self.high else None
        return (self._at(index) for index in range(self._steps() + 1))

    def describe(self) -> str:
        step = f" step {self.step:g}" if self.step is not None else ""
        return f"{self.low!r} .. {self.high!r}{' log' if self.log else ''}{step}"

    def _steps(self) -> int:
        """How many steps fit in the range; in decimals, as people write them and Optuna counts them."""
        if self.step is None:
            return 0
        low, high, step = (Decimal(str(number)) for number in (self.low, self.high, self.step))
        return int((high - low) // step)

    def _at(self, index: int) -> float:
        """The value that lies that many steps above `low`; without a step, the high end."""
        if self.step is None:
            return self.high
        return min(self.high, float(Decimal(str(self.low)) + index * Decimal(str(self.step))))


@dataclass(frozen=True, init=False)
class Categorical(Parameter):
    """One of the choices given, in any order: `Categorical("adam", "sgd")`."""

    choices: tuple[Scalar, ...] = ()

    def __init__(
        self,
        *choices: Scalar,
        repeat: str | None = None,
        conditions: tuple[tuple[str, tuple[Scalar, ...]], ...] = (),
        before: Any = UNSAID,
        prior: Any = UNSAID,
    ) -> None:
        if not choices:
            raise StudyError("Categorical() needs at least one choice", next='write Categorical("adam", "sgd")')
        for choice in choices:
            if not isinstance(choice, (str, int, float, bool, type(None))):
                raise StudyError(
                    f"Categorical choice {choice!r} must be text, a number, true, false or None",
                    next='name the choices one by one, without brackets: Categorical("adam", "sgd")',
                )
            if isinstance(choice, float) and not math.isfinite(choice):
                raise StudyError(f"Categorical choice {choice!r} is not finite", next="take it out")
        if len({(type(choice), choice) for choice in choices}) < len(choices):
            raise StudyError(f"Categorical{choices!r} names a choice twice", next="name each choice once")
        object.__setattr__(self, "choices", choices)
        object.__setattr__(self, "repeat", repeat)
        object.__setattr__(self, "conditions", conditions)
        object.__setattr__(self, "before", before)
        object.__setattr__(self, "prior", prior)
        self._keep_prior()

    def _with(self, **changes: Any) -> Self:
        kept = {"repeat": self.repeat, "conditions": self.conditions, "before": self.before, "prior": self.prior}
        return type(self)(*self.choices, **(kept | changes))

    def contains(self, value: Any) -> bool:
        return any(value == choice and isinstance(value, bool) == isinstance(choice, bool) for choice in self.choices)

    def ends(self) -> tuple[Scalar, ...]:
        return self.choices

    def values(self) -> tuple[Scalar, ...]:
        return self.choices

    def describe(self) -> str:
        return " | ".join(str(choice) for choice in self.choices)


def edge_values(row: Any) -> list[Any]:
    """The values of a row at the ends of its range, all choices, or the fixed value or values."""
    if isinstance(row, Parameter):
        return list(row.ends())
    return list(row) if isinstance(row, (list, tuple)) else [row]


def _is_finite(value: float) -> bool:
    try:
        return math.isfinite(value)
    except OverflowError:  # a whole number beyond any float
        return False


def _as_values(values: Scalar | Sequence[Scalar]) -> tuple[Scalar, ...]:
    if isinstance(values, (tuple, list)):
        return tuple(values)
    return (values,)  # type: ignore[return-value]  # a str is a Sequence, and a Scalar


def _check_range(kind: str, low: float, high: float, log: bool, step: float | None) -> None:
    call = f"{kind}({low}, {high}{', log=True' if log else ''}{f', step={step}' if step is not None else ''})"
    if low > high:
        raise StudyError(f"{call} is an impossible range: {low} is above {high}", next="swap the two ends")
    if log and low <= 0:
        raise StudyError(
            f"{call} is an impossible range: a logarithm needs low above 0", next="raise low, or drop log=True"
        )
    if step is not None and step <= 0:
        raise StudyError(f"{call} is an impossible range: step must be above 0", next="leave step out")
    if log and step is not None:
        raise StudyError(
            f"{call} is an impossible range: log and step exclude each other (as in Optuna)", next="drop one of the two"
        )

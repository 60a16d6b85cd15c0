"""The search space as data: rows of `Int`, `Float`, `Categorical` and fixed values.

    space = Space({
        "layers":       Int(2, 10),
        "hidden_units": Int(200, 1000).per("layers"),          # hidden_units_0 .. hidden_units_{layers-1}
        "optimizer":    Categorical("adam", "sgd"),
        "momentum":     Float(0.0, 0.99).when(optimizer="sgd"),
        "schedule":     "cosine",                              # fixed: not searched
    })

A *configuration* maps row names to values, with one list per `.per` row and only the rows whose `.when` holds.
*Parameters* are the same thing flat, under the names Optuna stores (`hidden_units_0`). No torch and no optuna here.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any

from hpo.errors import StudyError, near_miss
from hpo.study.parameters import Categorical, Float, Int, Parameter, Scalar

__all__ = ["Categorical", "Float", "Int", "Key", "Parameter", "Space", "configuration_key", "space_of"]

Suggest = Callable[[str, Parameter], Scalar]

Key = tuple[tuple[str, str, Any], ...]


def configuration_key(params: Mapping[str, Any]) -> Key:
    """The same for equal flat parameters, in whatever order, and for numbers that differ by rounding alone."""
    return tuple((name, type(value).__name__, _comparable(value)) for name, value in sorted(params.items()))


def _comparable(value: Any) -> Any:
    if isinstance(value, float):
        return float(f"{value:.12g}")
    return value if isinstance(value, Scalar) else repr(value)  # plain Optuna takes anything as a choice


class Space:
    """The rows of a study, checked: every `.per` and `.when` names a row that exists, and none in a circle."""

    def __init__(self, rows: Mapping[str, Parameter | Scalar | Sequence[Scalar]]) -> None:
        self.rows: dict[str, Any] = dict(rows)
        for name, row in self.rows.items():
            if not isinstance(name, str) or not name.isidentifier():
                raise StudyError(f"{name!r} is not a parameter name", next="use letters, digits and underscores")
            if isinstance(row, Parameter):
                self._check_references(name, row)
        self.order = self._order()

    @property
    def searched(self) -> dict[str, Parameter]:
        """The rows that are searched, in an order in which every row follows those it depends on."""
        return {name: self.rows[name] for name in self.order if isinstance(self.rows[name], Parameter)}

    @property
    def fixed(self) -> dict[str, Any]:
        return {name: row for name, row in self.rows.items() if not isinstance(row, Parameter)}

    def sample(self, suggest: Suggest) -> dict[str, Any]:
        """The configuration that `suggest(parameter_name, row)` draws, value by value, skipping inactive rows."""
        config: dict[str, Any] = {}
        for name in self.order:
            row = self.rows[name]
            if not isinstance(row, Parameter):
                config[name] = list(row) if isinstance(row, tuple) else row
            elif self._active(row, config):
                names = self._names(name, row, config)
                values = [suggest(parameter, row) for parameter in names]
                config[name] = values if row.repeat else values[0]
        return config

    def configuration(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """The configuration of flat Optuna parameters; KeyError when one is missing."""
        return self.sample(lambda name, _row: params[name])

    def parameters(self, config: Mapping[str, Any], *, what: str, complete: bool = True) -> dict[str, Any]:
        """The flat parameters of a configuration given by hand (a baseline), checked against every row.

        Raises StudyError for a value outside its row, a list of the wrong length, a row that is not active there,
        an unknown name and, when `complete`, for one that is missing.
        """
        params: dict[str, Any] = {}
        used: set[str] = set()

        def suggest(parameter: str, row: Parameter) -> Scalar:
            name, value = self._given(parameter, row, config, what)
            if name is None:
                if complete:
                    raise StudyError(
                        f'{what} does not say "{parameter}"',
                        evidence=[f"its row is {row}"],
                        next=f'add "{parameter.removesuffix("_0") if row.repeat else parameter}" to it',
                    )
                # A configuration may leave rows to the sampler, but then nothing may depend on them.
                return row.ends()[0]
            used.add(name)
            if not row.contains(value):
                raise StudyError(f"{what} has {parameter}={value!r}, outside its row", evidence=[f"{parameter}  {row}"])
            params[parameter] = value
            scalar: Scalar = value
            return scalar

        resolved = self.sample(suggest)
        for name, value in config.items():
            if name in used:
                continue
            if name not in self.rows:
                raise StudyError(f'{what} names "{name}", which is no row', evidence=[near_miss(name, self.rows)])
            if name not in resolved:
                raise StudyError(f'{what} gives "{name}", which is not active there', evidence=[str(self.rows[name])])
            if self.fixed.get(name, value) != value:
                raise StudyError(f"{what} has {name}={value!r}, but its row is fixed to {self.rows[name]!r}")
        return params

    def combinations(self) -> Iterator[dict[str, Any]]:
        """Every configuration once, as parameters. Each row must have a list of values.

        A row that is not active for a combination of the others does not multiply it; a `.per` row takes every
        combination of its values.
        """
        values = {name: tuple(row.values() or ()) for name, row in self.searched.items()}

        def walk(place: int, config: dict[str, Any], params: dict[str, Any]) -> Iterator[dict[str, Any]]:
            if place == len(self.order):
                yield params
                return
            name = self.order[place]
            row = self.rows[name]
            if not isinstance(row, Parameter):
                yield from walk(place + 1, {**config, name: row}, params)
            elif not self._active(row, config):
                yield from walk(place + 1, config, params)
            else:
                names = self._names(name, row, config)
                for drawn in itertools.product(values[name], repeat=len(names)):
                    value = list(drawn) if row.repeat else drawn[0]
                    named = dict(zip(names, drawn, strict=True))
                    yield from walk(place + 1, {**config, name: value}, {**params, **named})

        return walk(0, {}, {})

    def branches(self) -> Iterator[dict[str, Any]]:
        """Configurations at both ends of every range with every choice, for each combination of the rows that others
        depend on. Choices of several rows are not combined with each other."""
        deciding = {self.rows[name].repeat for name in self.searched} | {
            condition for row in self.searched.values() for condition, _ in row.conditions
        }
        free = [name for name in self.searched if name in deciding]
        choices = max([1, *(len(row.ends()) for row in self.searched.values() if isinstance(row, Categorical))])
        for choice in _combinations([self.searched[name].ends() for name in free]):
            chosen = dict(zip(free, choice, strict=True))
            for pick, edge in itertools.product(range(choices), (0, -1)):

                def suggest(name: str, row: Parameter, chosen: Any = chosen, pick: int = pick, edge: int = edge) -> Any:
                    ends = row.ends()
                    end = ends[min(pick, len(ends) - 1)] if isinstance(row, Categorical) else ends[edge]
                    return chosen.get(name, end)

                config = self.sample(suggest)
                # An inactive deciding row makes two combinations the same configuration: the caller may see both.
                yield config

    def may_repeat(self, fixed: Collection[str] = ()) -> bool:
        """Whether two configurations drawn from it may well be equal. Not where a row that is always searched, and is
        not among `fixed`, has a continuous range; and a table in which nothing is searched asks for its only one."""
        searched = self.searched
        return bool(searched) and not any(
            isinstance(row, Float) and row.step is None and row.low < row.high and self._always(row)
            for name, row in searched.items()
            if name not in fixed
        )

    def _always(self, row: Parameter) -> bool:
        """Whether a row is searched in every configuration."""
        count = None if row.repeat is None else self.rows[row.repeat]
        return not row.conditions and not (isinstance(count, Parameter) and count.conditions)

    def describe(self) -> dict[str, str]:
        """Every row as text, in the order written."""
        return {name: str(row) if isinstance(row, Parameter) else f"{row!r} fixed" for name, row in self.rows.items()}

    def _check_references(self, name: str, row: Parameter) -> None:
        for target, values in row.conditions:
            if target not in self.rows:
                raise StudyError(
                    f'"{name}" depends on "{target}", which is no row (.when)', evidence=[near_miss(target, self.rows)]
                )
            other = self.rows[target]
            for value in values:
                if isinstance(other, Parameter) and not other.contains(value):
                    raise StudyError(f'"{name}" waits for {target}={value!r}, which never happens: {target} is {other}')
        if row.repeat is None:
            return
        if row.repeat not in self.rows:
            raise StudyError(
                f'"{name}" is per "{row.repeat}", which is no row', evidence=[near_miss(row.repeat, self.rows)]
            )
        count = self.rows[row.repeat]
        low = count.low if isinstance(count, Int) else count
        if isinstance(low, bool) or not isinstance(low, int) or low < 1 or getattr(count, "repeat", None):
            raise StudyError(f'"{name}" is per "{row.repeat}", which must be a whole number of at least 1, not {count}')

    def _order(self) -> tuple[str, ...]:
        order: list[str] = []
        visiting: list[str] = []

        def visit(name: str) -> None:
            if name in order:
                return
            if name in visiting:
                raise StudyError(f"rows depend on each other in a circle: {' -> '.join([*visiting, name])}")
            visiting.append(name)
            row = self.rows[name]
            if isinstance(row, Parameter):
                for target in (*([row.repeat] if row.repeat else []), *(target for target, _ in row.conditions)):
                    visit(target)
            visiting.pop()
            order.append(name)

        for name in self.rows:
            visit(name)
        return tuple(order)

    @staticmethod
    def _active(row: Parameter, config: Mapping[str, Any]) -> bool:
        ready = all(name in config and config[name] in values for name, values in row.conditions)
        return ready and (row.repeat is None or row.repeat in config)

    @staticmethod
    def _names(name: str, row: Parameter, config: Mapping[str, Any]) -> list[str]:
        return [f"{name}_{index}" for index in range(config[row.repeat])] if row.repeat else [name]

    def _given(self, parameter: str, row: Parameter, config: Mapping[str, Any], what: str) -> tuple[str | None, Any]:
        """The name under which `config` gives `parameter`, and the value; (None, None) when it does not."""
        if parameter in config or row.repeat is None:
            return (parameter, config[parameter]) if parameter in config else (None, None)
        name, _, index = parameter.rpartition("_")
        if name not in config:
            return None, None
        values = config[name]
        count = config.get(row.repeat, self.fixed.get(row.repeat))
        if not isinstance(values, (list, tuple)) or len(values) != count:
            raise StudyError(f"{what} has {name}={values!r}, which needs one value for each of {row.repeat}={count}")
        return name, values[int(index)]


def space_of(given: Any) -> Space:
    """The space of a table, or of another space."""
    return Space(given.rows if isinstance(given, Space) else given)


def _combinations(options: Sequence[Sequence[Any]]) -> Iterator[tuple[Any, ...]]:
    if not options:
        yield ()
        return
    for first in options[0]:
        for rest in _combinations(options[1:]):
            yield (first, *rest)

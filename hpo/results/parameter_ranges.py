"""The parameters of a study, taken from its trials: range, scale, and the per-layer group of each."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import FrozenTrial

__all__ = ["ParameterRange", "find_parameters", "searched_ranges"]

_INDEXED = re.compile(r"(.+)_(\d+)")


@dataclass(frozen=True)
class ParameterRange:
    """One searched parameter.

    group:   "hidden_units" for hidden_units_0, hidden_units_1, ...; None for a parameter that stands alone
    values:  how many different values the trials took
    trials:  how many finished trials have it: fewer than all where it is conditional
    """

    name: str
    text: str
    numeric: bool
    log: bool
    group: str | None
    values: int
    trials: int
    conditional: bool

    @property
    def varies(self) -> bool:
        return self.values > 1


def find_parameters(trials: Iterable[FrozenTrial]) -> tuple[ParameterRange, ...]:
    """Every parameter of the trials, in the order they first occur; per-layer ones side by side."""
    trials = list(trials)
    found, groups = searched_ranges(trials)
    values: dict[str, set[object]] = {}
    counts: dict[str, int] = {}
    finished = 0
    for trial in trials:
        finished += trial.state.is_finished()
        for name in trial.distributions:
            values.setdefault(name, set()).add(trial.params[name])
            counts[name] = counts.get(name, 0) + trial.state.is_finished()
    parameters = [
        ParameterRange(
            name=name,
            text=describe(distribution),
            numeric=not isinstance(distribution, CategoricalDistribution),
            log=bool(getattr(distribution, "log", False)),
            group=groups.get(name),
            values=len(values[name]),
            trials=counts[name],
            conditional=counts[name] < finished,
        )
        for name, distribution in found.items()
    ]
    first = {parameter.group or parameter.name: index for index, parameter in reversed(list(enumerate(parameters)))}
    return tuple(sorted(parameters, key=lambda one: (first[one.group or one.name], _index(one))))


def searched_ranges(trials: Iterable[FrozenTrial]) -> tuple[dict[str, BaseDistribution], dict[str, str]]:
    """(what each parameter was searched over, the per-layer group of each that has one), by name.

    Where a range changed during the search, all that was searched.
    """
    found: dict[str, BaseDistribution] = {}
    for trial in trials:
        for name, distribution in trial.distributions.items():
            found[name] = _wider(found[name], distribution) if name in found else distribution
    return found, _groups(found)


def describe(distribution: BaseDistribution) -> str:
    """`1e-05 .. 0.1 log` or `adam | sgd`, as in a study's own table."""
    if isinstance(distribution, CategoricalDistribution):
        return " | ".join(str(choice) for choice in distribution.choices)
    if isinstance(distribution, (IntDistribution, FloatDistribution)):
        step = distribution.step
        shown = (
            f" step {step:g}"
            if step is not None and not (isinstance(distribution, IntDistribution) and step == 1)
            else ""
        )
        return f"{distribution.low!r} .. {distribution.high!r}{' log' if distribution.log else ''}{shown}"
    return str(distribution)


def _wider(one: BaseDistribution, other: BaseDistribution) -> BaseDistribution:
    """Optuna lets a range change under the same name; then the trials saw the union of all ranges."""
    if one is other or one == other or type(one) is not type(other):
        return one
    if isinstance(one, IntDistribution) and isinstance(other, IntDistribution):
        low, high = min(one.low, other.low), max(one.high, other.high)
        return IntDistribution(low, high, log=one.log and other.log)
    if isinstance(one, FloatDistribution) and isinstance(other, FloatDistribution):
        return FloatDistribution(min(one.low, other.low), max(one.high, other.high), log=one.log and other.log)
    return one


def _groups(names: Mapping[str, object]) -> dict[str, str]:
    """Names like width_0, width_1: two or more with the same stem, numbered from 0, are one row of the declaration."""
    members: dict[str, list[str]] = {}
    for name in names:
        match = _INDEXED.fullmatch(name)
        if match:
            members.setdefault(match.group(1), []).append(name)
    return {
        name: stem
        for stem, group in members.items()
        if len(group) > 1 and f"{stem}_0" in group and stem not in names
        for name in group
    }


def _index(parameter: ParameterRange) -> int:
    return int(parameter.name.rpartition("_")[2]) if parameter.group else 0

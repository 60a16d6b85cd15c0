"""Beliefs of a table's rows put to use: values drawn by them, and how much likelier they make a configuration."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from statistics import NormalDist
from typing import Any

from hpo.study.beliefs import Prior
from hpo.study.parameters import Categorical, Float, Int, Parameter, Scalar
from hpo.study.places import place_in, value_at
from hpo.study.space import Space

__all__ = ["Beliefs"]

NEAR = 0.1
"""How far from the believed value "there" is: the standard deviation, where 1 is the row's whole range."""

_NORMAL = NormalDist()


class Beliefs:
    """What the user believes of the rows of a space. False where it is nothing."""

    def __init__(self, space: Space) -> None:
        self._rows = {name: row for name, row in space.searched.items() if row.belief is not None}

    def __bool__(self) -> bool:
        return bool(self._rows)

    def row(self, parameter: str) -> Parameter | None:
        """The row of a parameter (`hidden_units_0`) of which something is believed, else None."""
        row = self._rows.get(parameter)
        if row is not None and row.repeat is None:
            return row
        name, _, place = parameter.rpartition("_")
        row = self._rows.get(name)
        return row if row is not None and row.repeat is not None and place.isdecimal() else None

    def draw(self, row: Parameter, uniform: Callable[[], float]) -> Scalar:
        """A value of a row by the belief about it. uniform: draws a number in [0, 1)."""
        belief = _belief(row)
        believed = uniform() < belief.confidence
        if isinstance(row, Categorical):
            weights = belief.weights(row.choices) if believed else [1.0] * len(row.choices)
            return row.choices[_chosen(weights, uniform())]
        assert isinstance(row, Int | Float)
        return value_at(row, _near(place_in(row, belief.value), uniform()) if believed else uniform())

    def log_odds(self, params: Mapping[str, Any]) -> float:
        """How much likelier flat parameters are as the best than without the beliefs: a logarithm, 0 where no row with
        a belief is active. Values of a `.per` row count as one, by their mean."""
        by_row: dict[int, list[float]] = {}
        for parameter, value in params.items():
            row = self.row(parameter)
            if row is not None:
                by_row.setdefault(id(row), []).append(math.log(_odds(row, value)))
        return math.fsum(math.fsum(logs) / len(logs) for logs in by_row.values())


def _belief(row: Parameter) -> Prior:
    assert row.belief is not None
    return row.belief


def _odds(row: Parameter, value: Any) -> float:
    """The density of the belief, by an even one."""
    belief = _belief(row)
    if isinstance(row, Categorical):
        believed = belief.weights(row.choices)[row.choices.index(value)] * len(row.choices)
    else:
        assert isinstance(row, Int | Float)
        centre = place_in(row, belief.value)
        away = (place_in(row, value) - centre) / NEAR
        inside = _NORMAL.cdf((1.0 - centre) / NEAR) - _NORMAL.cdf(-centre / NEAR)
        believed = _NORMAL.pdf(away) / NEAR / inside
    return belief.confidence * believed + 1.0 - belief.confidence


def _near(centre: float, chance: float) -> float:
    """A place from a normal density around `centre`, cut off at the ends of the row."""
    low, high = _NORMAL.cdf(-centre / NEAR), _NORMAL.cdf((1.0 - centre) / NEAR)
    at = min(max(low + chance * (high - low), 1e-12), 1.0 - 1e-12)
    return min(max(centre + NEAR * _NORMAL.inv_cdf(at), 0.0), 1.0)


def _chosen(weights: list[float], chance: float) -> int:
    """The place of one of these weights, each by its share."""
    left = chance * math.fsum(weights)
    for place, weight in enumerate(weights):
        left -= weight
        if left < 0.0:
            return place
    return max(place for place, weight in enumerate(weights) if weight > 0.0)  # rounding alone leads here

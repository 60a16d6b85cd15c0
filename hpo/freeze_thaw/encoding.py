"""Configurations as points of a cube, for a model that knows nothing of conditions."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hpo.study.parameters import Categorical, Float, Int, Parameter, Scalar
from hpo.study.places import MIDDLE, place_in
from hpo.study.space import Space

__all__ = ["Encoding"]

NEUTRAL = MIDDLE
"""Where a row stands that is not active: the rows it depends on already tell such configurations apart."""

Points = NDArray[np.float64]


class Encoding:
    """Flat parameters of a space as numbers in [0, 1], always as many: one for a numeric row, one for each choice of a
    categorical one (a single one for two choices), and for a `.per` row as many as it can have values.

    The places of a `.per` row that a configuration does not have take the mean of those it has: a network of two equal
    layers is then as near as can be to one of three such layers.
    """

    def __init__(self, space: Space) -> None:
        self._rows = space.searched
        self._counts = {name: _most(space, row) for name, row in self._rows.items()}

    @property
    def columns(self) -> int:
        """How many numbers a configuration becomes."""
        return sum(self._counts[name] * _width(row) for name, row in self._rows.items())

    def points(self, configurations: Sequence[Mapping[str, Any]]) -> Points:
        """[n, columns] for flat parameters under the names Optuna has (`hidden_units_0`)."""
        found = np.array([self._point(params) for params in configurations], dtype=np.float64)
        return found.reshape(len(configurations), self.columns)

    def _point(self, params: Mapping[str, Any]) -> list[float]:
        numbers: list[float] = []
        for name, row in self._rows.items():
            if row.repeat is None:
                numbers += _numbers(row, params[name]) if name in params else [NEUTRAL] * _width(row)
                continue
            names = (f"{name}_{index}" for index in range(self._counts[name]))
            given = [_numbers(row, params[each]) for each in names if each in params]
            absent = [math.fsum(column) / len(given) for column in zip(*given, strict=True)] or [NEUTRAL] * _width(row)
            for index in range(self._counts[name]):
                numbers += given[index] if index < len(given) else absent
        return numbers


def _numbers(row: Parameter, value: Scalar) -> list[float]:
    if isinstance(row, Categorical):
        index = row.choices.index(value)
        return [float(index)] if _width(row) == 1 else [float(index == other) for other in range(len(row.choices))]
    assert isinstance(row, Int | Float)
    assert isinstance(value, int | float)
    return [place_in(row, value)]


def _width(row: Parameter) -> int:
    return len(row.choices) if isinstance(row, Categorical) and len(row.choices) > 2 else 1


def _most(space: Space, row: Parameter) -> int:
    """How many values a row has at most."""
    count = space.rows[row.repeat] if row.repeat is not None else 1
    most: int = count.high if isinstance(count, Int) else count
    return most

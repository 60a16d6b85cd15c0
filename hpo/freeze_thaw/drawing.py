"""Configurations to think about: drawn evenly from a space, or near one that is known."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from hpo.study.believing import Beliefs
from hpo.study.parameters import Categorical, Float, Int, Parameter, Scalar
from hpo.study.places import place_in, value_at
from hpo.study.space import Space

__all__ = ["draw_believed", "draw_evenly", "draw_near"]


def draw_evenly(space: Space, draw: np.random.Generator) -> dict[str, Any]:
    """Flat parameters, every row drawn independently."""
    params: dict[str, Any] = {}

    def suggest(name: str, row: Parameter) -> Scalar:
        params[name] = _anywhere(row, draw)
        value: Scalar = params[name]
        return value

    space.sample(suggest)
    return params


def draw_believed(space: Space, beliefs: Beliefs, draw: np.random.Generator) -> dict[str, Any]:
    """Flat parameters, by what the user believes of a row, and evenly where that is nothing."""
    params: dict[str, Any] = {}

    def suggest(name: str, row: Parameter) -> Scalar:
        params[name] = _anywhere(row, draw) if row.belief is None else beliefs.draw(row, draw.random)
        value: Scalar = params[name]
        return value

    space.sample(suggest)
    return params


def draw_near(
    space: Space, known: Mapping[str, Any], draw: np.random.Generator, *, width: float, share: float
) -> dict[str, Any]:
    """Flat parameters like `known`, with about a `share` of them moved.

    width: the standard deviation of a move, where 1 is the whole range; another choice of a categorical row is drawn
           evenly. A row that `known` lacks, because it was not active there, is drawn evenly too.
    """
    params: dict[str, Any] = {}

    def suggest(name: str, row: Parameter) -> Scalar:
        if name not in known:
            params[name] = _anywhere(row, draw)
        elif draw.random() >= share:
            params[name] = known[name]
        elif isinstance(row, Categorical):
            params[name] = _anywhere(row, draw)
        else:
            assert isinstance(row, Int | Float)
            place = place_in(row, known[name]) + width * draw.standard_normal()
            params[name] = value_at(row, _reflected(place))
        value: Scalar = params[name]
        return value

    space.sample(suggest)
    return params


def _anywhere(row: Parameter, draw: np.random.Generator) -> Scalar:
    if isinstance(row, Categorical):
        return row.choices[int(draw.integers(len(row.choices)))]
    if isinstance(row, Int) and not row.log:
        return int(row.low + row.step * draw.integers((row.high - row.low) // row.step + 1))
    assert isinstance(row, Int | Float)
    return value_at(row, draw.random())


def _reflected(place: float) -> float:
    """A place beyond an end, as far inside."""
    place = abs(place) % 2.0
    return 2.0 - place if place > 1.0 else place

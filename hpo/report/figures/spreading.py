"""Trials that share one of a few values, side by side: on one spot they would hide each other."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import pandas

from hpo.report.theme import axis, label
from hpo.results.parameter_ranges import ParameterRange

__all__ = ["FEW", "SPREAD_NOTE", "spread"]

FEW = 10
"""Different values of a parameter, up to which its trials are spread."""

WIDTH = 0.7
"""Of the gap between two values: so far apart the trials of one lie at most."""

SPREAD_NOTE = "Trials that share a choice or a whole number stand side by side."

_GOLDEN = (math.sqrt(5.0) - 1.0) / 2.0


def spread(rows: pandas.DataFrame, parameter: ParameterRange) -> tuple[pandas.Series[Any] | None, dict[str, Any]]:
    """(where each row stands on the axis, the axis) of a parameter; None in place of the first where every trial stands
    at its value, because it takes many, or no two trials share one."""
    column = rows[f"params_{parameter.name}"]
    values = column.tolist() if parameter.numeric else [label(value) for value in column]
    different = sorted(set(values))
    few = 1 < len(different) <= FEW and len(values) > len(different)
    whole = not parameter.numeric or all(float(value).is_integer() for value in different)
    if not few or not whole:
        return None, axis(parameter, values)
    if not parameter.numeric:
        places = {value: float(place) for place, value in enumerate(different)}
        shown = {
            "title": {"text": label(parameter.name)},
            "tickvals": list(places.values()),
            "ticktext": different,
            "range": [-0.6, len(different) - 0.4],
        }
        return _beside(values, places, rows), shown
    log = parameter.log and different[0] > 0
    places = {value: math.log10(value) if log else float(value) for value in different}
    moved = _beside(values, places, rows)
    return (10.0**moved if log else moved), axis(parameter, values)


def _beside(values: list[Any], places: dict[Any, float], rows: pandas.DataFrame) -> pandas.Series[Any]:
    """The first trial of a value stands at it, the next ones beside it: each in the widest gap that is left."""
    ordered = sorted(places.values())
    width = WIDTH * min(high - low for low, high in pairwise(ordered))
    seen: dict[Any, int] = {}
    moved = []
    for value in values:
        count = seen[value] = seen.get(value, -1) + 1
        moved.append(places[value] + width * ((count * _GOLDEN + 0.5) % 1.0 - 0.5))
    return pandas.Series(moved, index=rows.index, dtype="float64")

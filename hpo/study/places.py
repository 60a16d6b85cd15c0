"""Where a value of a numeric row lies between its ends, and back."""

from __future__ import annotations

import math

from hpo.study.parameters import Float, Int

__all__ = ["MIDDLE", "place_in", "value_at"]

MIDDLE = 0.5
"""The place of the only value of a row that has one."""


def place_in(row: Int | Float, value: float) -> float:
    """Where a value of a numeric row lies between its ends, 0 to 1; by its logarithm where the row says so."""
    low, high = float(row.low), float(row.high)
    if low == high:
        return MIDDLE
    if row.log:
        low, high, value = math.log(low), math.log(high), math.log(value)
    return min(max((value - low) / (high - low), 0.0), 1.0)


def value_at(row: Int | Float, place: float) -> int | float:
    """The value of a numeric row at a place between its ends, on a step if it has steps."""
    low, high = float(row.low), float(row.high)
    value = math.exp(math.log(low) + place * math.log(high / low)) if row.log else low + place * (high - low)
    step = row.step
    if step is not None and not (row.log and isinstance(row, Int)):
        value = low + round((value - low) / step) * step
    last = row.ends()[1]
    assert isinstance(last, int | float)
    value = min(max(value, row.low), last)
    return round(value) if isinstance(row, Int) else float(value)

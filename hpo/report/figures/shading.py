"""The shades of the first objective, dark where it is good, and the part of its range that is worth seeing."""

from __future__ import annotations

from typing import Any

from hpo.report.data import ReportData
from hpo.report.theme import SCALE, colour_bar, label

__all__ = ["body", "colour_range", "outside_note", "scale", "shade_bar"]


def scale(data: ReportData) -> list[list[Any]]:
    """Dark is good in either direction."""
    if data.view.directions[0] == "maximize":
        return SCALE
    return [[1.0 - SCALE[index][0], SCALE[index][1]] for index in reversed(range(len(SCALE)))]


def colour_range(data: ReportData, index: int = 0) -> tuple[float, float]:
    """The span of the better three quarters: one failed trial must not give all others the same shade."""
    values = sorted(trial.values[index] for trial in data.complete)
    quarter = len(values) // 4
    if data.view.directions[index] == "maximize":
        low, high = values[quarter], values[-1]
    else:
        low, high = values[0], values[-1 - quarter]
    return (low, high) if low < high else (values[0], values[-1])


def body(data: ReportData, index: int = 0) -> tuple[tuple[float, float], int]:
    """The range of complete values for an axis, and how many lie outside it.

    It is the better three quarters and as much again on the worse side: a few trials that learned nothing must not
    press all others into one point.
    """
    values = [trial.values[index] for trial in data.complete]
    low, high = colour_range(data, index)
    if data.view.directions[index] == "maximize":
        low = max(min(values), low - (high - low))
    else:
        high = min(max(values), high + (high - low))
    return (low, high), sum(not low <= value <= high for value in values)


def outside_note(data: ReportData, outside: int, where: str) -> str:
    """`3 of 26 complete trials are worse than the range shown and lie beyond its edge.`"""
    are, lie = ("are", "lie") if outside != 1 else ("is", "lies")
    return f"{outside:,} of {len(data.complete):,} complete trials {are} worse than the range shown and {lie} {where}."


def shade_bar(data: ReportData, **more: Any) -> dict[str, Any]:
    return colour_bar(label(data.objectives[0], 20), **more)

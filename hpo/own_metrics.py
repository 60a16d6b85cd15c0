"""Metrics that a user's own code reports, under names of its own: what may be one, and how hpo_epochs stores them.

A few dozen numbers a step are what a person looks at; more is a mistake (the weights, a metric for each image), and
would be written for every step of every trial.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

__all__ = ["LONGEST_NAME", "MOST_METRICS", "checked_metrics", "is_metric_name", "metrics_from", "metrics_text"]

MOST_METRICS = 64
"""In the report of one step."""
LONGEST_NAME = 100
"""Characters of a metric's name."""
_NOT_FINITE = ("NaN", "Infinity", "-Infinity")


def checked_metrics(metrics: Mapping[str, Any]) -> dict[str, float]:
    """`metrics` as plain floats. ValueError for a name or a count that cannot be kept, TypeError for no number.

    A value may be whatever `float` takes but text: a tensor of one element, a number of NumPy.
    """
    if len(metrics) > MOST_METRICS:
        raise ValueError(f"{len(metrics)} metrics were reported for one step; hpo keeps at most {MOST_METRICS}")
    return {_name(name): _number(name, value) for name, value in metrics.items()}


def metrics_text(metrics: Mapping[str, float] | None) -> str | None:
    """JSON, which PostgreSQL can read as well: numbers that JSON does not know are "NaN", "Infinity", "-Infinity"."""
    if not metrics:
        return None
    kept = checked_metrics(metrics)
    return json.dumps({name: value if math.isfinite(value) else _word(value) for name, value in kept.items()})


def metrics_from(value: Any) -> dict[str, float]:
    """What `metrics_text` wrote, decoded from JSON. Others may have written anything there: what is no metric is left
    out."""
    found: dict[str, float] = {}
    for name, number in value.items() if isinstance(value, Mapping) else ():
        is_whole = isinstance(number, int) and not isinstance(number, bool) and abs(number) < 2**1000
        is_number = isinstance(number, float) or is_whole or number in _NOT_FINITE
        if len(found) < MOST_METRICS and is_metric_name(name) and is_number:
            found[name] = float(number)
    return found


def _name(name: Any) -> str:
    if not is_metric_name(name):
        shown = repr(name)
        raise ValueError(
            f"{shown if len(shown) <= LONGEST_NAME else shown[:LONGEST_NAME] + '...'} is not the name of a metric: "
            f"that is text of 1 to {LONGEST_NAME} printable characters"
        )
    return str(name)


def is_metric_name(name: Any) -> bool:
    """Whether `name` may stand in a table, a plot and a terminal as it is."""
    return isinstance(name, str) and 0 < len(name) <= LONGEST_NAME and name.isprintable()


def _number(name: str, value: Any) -> float:
    try:
        if isinstance(value, str | bytes):
            raise TypeError
        number = float(value.detach() if hasattr(value, "detach") else value)  # torch warns of a loss that is not
    except (TypeError, ValueError, OverflowError, RuntimeError):  # RuntimeError: torch's, of a tensor of several
        raise TypeError(f"the metric {name!r} is of type {type(value).__name__}, and should be one number") from None
    return number


def _word(value: float) -> str:
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"

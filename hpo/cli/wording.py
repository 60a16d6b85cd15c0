"""How numbers, parameters and counts read, the same in every command."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

from hpo.duration import format_duration

__all__ = [
    "COUNTS",
    "STATES",
    "STYLES",
    "counts_text",
    "grouped",
    "params_text",
    "printable",
    "score",
    "seconds_text",
    "value_text",
]

COUNTS = ("complete", "pruned", "failed", "running", "waiting")

STATES = {"COMPLETE": "complete", "PRUNED": "pruned", "FAIL": "failed", "RUNNING": "running", "WAITING": "waiting"}
"""Optuna's names of a trial's states, and ours."""

STYLES = {"complete": "green", "pruned": "yellow", "failed": "red", "running": "cyan", "waiting": "bright_black"}
"""One colour for each state of a trial, wherever it is shown."""

# A terminal obeys control characters (tab and newline only lay out); a lone surrogate cannot be written as UTF-8.
_UNPRINTABLE = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")
_INDEXED = re.compile(r"(.+)_(\d+)")


def printable(text: str) -> str:
    """`text` with what no terminal should get spelled out as in JSON: names in a shared database come from anybody."""
    return _UNPRINTABLE.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def score(value: float | None) -> str:
    """An objective with five decimals, or five significant digits where that says more."""
    if value is None:
        return "-"
    if not math.isfinite(value):
        return str(value)
    return f"{value:.5f}" if 0.01 <= abs(value) < 100 or value == 0 else f"{value:.5g}"


def seconds_text(seconds: float) -> str:
    """`0.4s`, then `12s`, `4m 05s`, `1h 30m`: short trials differ by tenths."""
    return f"{seconds:.1f}s" if seconds < 9.95 else format_duration(seconds)


def value_text(value: Any) -> str:
    """A parameter's value; 4.964e-05 rather than seventeen digits."""
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, (list, tuple)):
        return ", ".join(value_text(item) for item in value)
    return str(value)


def params_text(params: Mapping[str, Any], separator: str = " · ") -> str:
    """`batch_size 64 · hidden_units 977, 878 · lr 0.0001`: one entry for each row of the study's table."""
    return separator.join(f"{name} {value_text(value)}" for name, value in grouped(params).items())


def grouped(params: Mapping[str, Any]) -> dict[str, Any]:
    """Flat parameters with `hidden_units_0`, `hidden_units_1` gathered into one list, in the order they came."""
    rows: dict[str, Any] = {}
    for name, value in params.items():
        match = _INDEXED.fullmatch(name)
        base = match.group(1) if match else ""
        if match and int(match.group(2)) == 0:
            rows[base] = [value]
        elif match and isinstance(rows.get(base), list) and len(rows[base]) == int(match.group(2)):
            rows[base].append(value)
        else:
            rows[name] = value
    return rows


def counts_text(counts: Mapping[str, int]) -> str:
    """`12 complete, 31 pruned, 2 running`: the states that occur."""
    parts = [f"{counts[state]} {state}" for state in COUNTS if counts.get(state)]
    return ", ".join(parts) or "no trials yet"

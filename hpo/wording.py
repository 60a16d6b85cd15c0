"""How numbers, sizes and parameters are written, the same in a search's log, in every command and in a report."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

from hpo.json_values import as_choice
from hpo.printable import one_line

__all__ = [
    "bytes_text",
    "config_text",
    "count_text",
    "difference",
    "grouped",
    "params_text",
    "score",
    "shortened",
    "value_text",
]

_NESTED = (list, tuple, dict)
_INDEXED = re.compile(r"(.+)_(\d+)")


def score(value: float | None) -> str:
    """An objective with five decimals, or with five significant digits where these say more."""
    if value is None:
        return "-"
    if not math.isfinite(value):
        return str(value)
    return f"{value:.5f}" if 0.01 <= abs(value) < 100 or value == 0 else f"{value:.5g}"


def difference(amount: float) -> str:
    """How far two objectives are apart: with the five decimals of `score`, unless these would all be zero."""
    return f"{amount:.5f}" if 5e-6 <= abs(amount) < 1 else score(amount)


def count_text(count: int) -> str:
    """Three digits and a unit: `61.7k`, `2.24M`."""
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if count >= size:
            return f"{count / size:.3g}{unit}"
    return str(count)


def bytes_text(count: int) -> str:
    """`12.30 GB`, `4.05 MB`, `268.9 kB`: in units of 1000."""
    if count >= 1e9:
        return f"{count / 1e9:.2f} GB"
    return f"{count / 1e6:.2f} MB" if count >= 1e6 else f"{count / 1e3:.1f} kB"


def shortened(text: object, most: int = 60) -> str:
    """`text`, cut after `most` characters: a database may hold ten million."""
    words = text if isinstance(text, str) else repr(text)
    return words if len(words) <= most else f"{words[:most]}..."


def value_text(value: Any) -> str:
    """A parameter's value; 4.964e-05 rather than seventeen digits."""
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, (list, tuple)) and value and not any(isinstance(item, _NESTED) for item in value):
        return ", ".join(value_text(item) for item in value)
    return one_line(as_choice(value))


def params_text(params: Mapping[str, Any], separator: str = " · ") -> str:
    """`batch_size 64 · hidden_units 977, 878 · lr 0.0001`: one entry for each row of the study's table."""
    return config_text(grouped(params), separator)


def config_text(config: Mapping[str, Any], separator: str = " · ") -> str:
    """The same of a resolved configuration, in which a list holds the values of a repeated row."""
    return separator.join(f"{one_line(name)} {value_text(value)}" for name, value in config.items())


def grouped(params: Mapping[str, Any]) -> dict[str, Any]:
    """Flat parameters with `hidden_units_0`, `hidden_units_1` gathered into one list, in their order.

    A choice that is itself a list becomes its JSON: `[3]` is not the values of a repeated row.
    """
    rows: dict[str, Any] = {}
    for name, given in params.items():
        value = as_choice(given)
        match = _INDEXED.fullmatch(name)
        base = match.group(1) if match else ""
        if match and int(match.group(2)) == 0:
            rows[base] = [value]
        elif match and isinstance(rows.get(base), list) and len(rows[base]) == int(match.group(2)):
            rows[base].append(value)
        else:
            rows[name] = value
    return rows

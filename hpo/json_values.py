"""Any value that JSON can hold, as text: to compare values, to count different ones, to show one."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

__all__ = ["as_choice", "as_json", "key_of"]

_SCALARS = (str, int, float, bool, type(None))


def key_of(value: Any) -> str:
    """The same text for equal values, and for no others: 1 and 1.0 are equal; 1, True, "1" and [1] are not."""
    return json.dumps(_even(value), sort_keys=True, default=repr)


def as_choice(value: Any) -> Any:
    """The value if it is text, a number, true, false or None; else its JSON, because a list or a mapping cannot be
    counted, sorted or written on an axis."""
    return value if isinstance(value, _SCALARS) else json.dumps(value, ensure_ascii=False, default=str)


def as_json(value: Any) -> Any:
    """`value` as JSON can hold it: NaN, which says nothing, becomes null; infinities become "Infinity", "-Infinity"."""
    if isinstance(value, float) and not math.isfinite(value):
        return None if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    if isinstance(value, Mapping):
        return {str(name): as_json(item) for name, item in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [as_json(item) for item in value]
    return value if isinstance(value, _SCALARS) else str(value)


def _even(value: Any) -> Any:
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, Mapping):
        return {str(name): _even(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_even(item) for item in value]
    return value

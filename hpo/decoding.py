"""Texts from the database or a model's folder, decoded as data: they are compared and shown, never run.

Anybody who can write there may have written anything, so every such text is decoded here and nowhere else
(tests/unit/test_decoding.py). docs/security.md says what is trusted and what is not.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from hpo.wording import shortened

__all__ = ["Undecodable", "decoded", "decoded_mapping", "decoded_or"]

DEEPEST = 64
"""Levels of nesting. Nothing that hpo or Optuna writes has ten; Python gives up at a few hundred."""


class Undecodable(ValueError):
    """A text that is not JSON, or not the JSON that hpo or Optuna would have written there."""


def decoded(text: str) -> Any:
    """The JSON value in `text`. Raises Undecodable if it is not JSON, or nested more than DEEPEST levels."""
    try:
        value = json.loads(text)
    except (TypeError, ValueError, RecursionError) as error:
        raise Undecodable(f"{shortened(text)} is not JSON") from error
    if text.count("[") + text.count("{") > DEEPEST and _is_deep(value):
        raise Undecodable(f"{shortened(text)} is nested more than {DEEPEST} levels deep")
    return value


def decoded_mapping(text: str) -> dict[str, Any]:
    """The JSON object in `text`, as a dict. Raises Undecodable for anything else."""
    value = decoded(text)
    if not isinstance(value, Mapping):
        raise Undecodable(f"{shortened(text)} is not a JSON object")
    return dict(value)


def decoded_or(text: str, otherwise: Any) -> Any:
    """The JSON value in `text`, or `otherwise` where there is none. The value must have the type of `otherwise`."""
    try:
        value = decoded(text)
    except Undecodable:
        return otherwise
    return value if isinstance(value, type(otherwise)) else otherwise


def _is_deep(value: Any) -> bool:
    level = [value]
    for _ in range(DEEPEST):
        level = [
            child
            for each in level
            if isinstance(each, list | dict)
            for child in (each.values() if isinstance(each, dict) else each)
        ]
    return any(isinstance(each, list | dict) for each in level)

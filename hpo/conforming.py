"""Whether a decoded value has the shape of a type: somebody may have changed what hpo wrote."""

from __future__ import annotations

from functools import lru_cache
from types import NoneType, UnionType
from typing import Any, NotRequired, Union, get_args, get_origin, get_type_hints, is_typeddict

__all__ = ["conforms"]


def conforms(value: Any, kind: Any) -> bool:
    """Whether `value`, from JSON, is a `kind`: a TypedDict, a list, a dict, a union or a scalar, at every level.

    Keys that a TypedDict does not know do not matter. An integer counts as a float, unless it is too large for one.
    """
    origin, parts = get_origin(kind), get_args(kind)
    if kind is Any:
        return True
    if is_typeddict(kind):
        hints = _hints(kind)
        return isinstance(value, dict) and all(
            conforms(value[key], hint) if key in value else get_origin(hint) is NotRequired
            for key, hint in hints.items()
        )
    if origin is NotRequired:
        return conforms(value, parts[0])
    if origin in (Union, UnionType):
        return any(conforms(value, part) for part in parts)
    if origin is list:
        return isinstance(value, list) and all(conforms(each, parts[0]) for each in value)
    if origin is dict:
        return isinstance(value, dict) and all(conforms(each, parts[1]) for each in value.values())
    if kind in (int, float):
        whole = type(value) is int and abs(value) < 2**63
        return whole or (kind is float and isinstance(value, float))
    return isinstance(value, NoneType if kind is None else kind)


@lru_cache
def _hints(kind: Any) -> dict[str, Any]:
    # Annotations with NotRequired in them: `__required_keys__` does not see it where annotations are strings.
    return get_type_hints(kind, include_extras=True)

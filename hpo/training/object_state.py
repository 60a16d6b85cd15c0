"""What a user's objects hold, in a form that a checkpoint can: a tree for JSON, with its tensors beside it.

Never a pickle. The tree has numbers, text, True, False and None as themselves, and everything else as [kind, content].
"""

from __future__ import annotations

import base64
import random
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

__all__ = ["generators", "restore", "restore_generators", "state_of", "tree_of", "value_of"]


def tree_of(value: Any, tensors: dict[str, Tensor], path: str = "") -> Any:
    """The tree of `value`; its tensors go into `tensors`, each by its path. TypeError names what cannot be kept."""
    if value is None or isinstance(value, bool | int | float | str):
        return value if type(value) in (bool, int, float, str, type(None)) else _plain(value, path)
    if isinstance(value, Tensor):
        tensors[path] = value
        return ["tensor", path]
    if isinstance(value, np.generic):
        return tree_of(value.item(), tensors, path)
    if isinstance(value, np.ndarray):
        try:
            tensors[path] = torch.from_numpy(np.ascontiguousarray(value))
        except TypeError:
            raise TypeError(f"{path} is an array of {value.dtype}, which no checkpoint can hold") from None
        return ["array", path, list(value.shape)]
    if isinstance(value, bytes):
        return ["bytes", base64.b64encode(value).decode()]
    if isinstance(value, Mapping):
        kind = "ordered" if isinstance(value, OrderedDict) else "dict"
        return [kind, [[_key(key, path), tree_of(one, tensors, f"{path}.{key}")] for key, one in value.items()]]
    if isinstance(value, list | tuple | set | frozenset):
        kind = "list" if isinstance(value, list) else "tuple" if isinstance(value, tuple) else "set"
        return [kind, [tree_of(one, tensors, f"{path}.{index}") for index, one in enumerate(value)]]
    raise TypeError(
        f"{path} is a {type(value).__name__}, which no checkpoint can hold: give resume() objects that have state_dict "
        "and load_state_dict, or numbers, text, tensors and arrays, and lists and dicts of them"
    )


def value_of(tree: Any, tensors: Mapping[str, Tensor]) -> Any:
    """What `tree_of` was given, tensors on the CPU. ValueError for another tree."""
    if not isinstance(tree, list):
        return tree
    kind, content, *rest = tree
    if kind == "tensor":
        return tensors[content]
    if kind == "array":
        return tensors[content].numpy().reshape(rest[0])
    if kind == "bytes":
        return base64.b64decode(content)
    if kind in ("dict", "ordered"):
        pairs = [(tuple(key) if isinstance(key, list) else key, value_of(one, tensors)) for key, one in content]
        return OrderedDict(pairs) if kind == "ordered" else dict(pairs)
    if kind in ("list", "tuple", "set"):
        return {"list": list, "tuple": tuple, "set": set}[kind](value_of(one, tensors) for one in content)
    raise ValueError(f"no {kind} in a checkpoint")


def state_of(value: Any) -> Any:
    """What is to be kept of an object: its state_dict, a generator's state, or plain data itself."""
    if _has_state(value):
        return value.state_dict()
    if isinstance(value, torch.Generator):
        return value.get_state()
    if isinstance(value, np.random.Generator):
        return value.bit_generator.state
    if isinstance(value, random.Random):
        return value.getstate()
    return value


def restore(value: Any, state: Any) -> Any:
    """`value` as `state_of` saw it: the same object, changed in place, where it is one that can be."""
    if _has_state(value):
        value.load_state_dict(state)
    elif isinstance(value, torch.Generator):
        value.set_state(state)
    elif isinstance(value, np.random.Generator):
        value.bit_generator.state = state
    elif isinstance(value, random.Random):
        value.setstate(state)
    elif isinstance(value, dict) and isinstance(state, dict):
        value.clear()
        value.update(state)
    elif isinstance(value, list) and isinstance(state, list):
        value[:] = state
    else:
        return state
    return value


def generators() -> dict[str, Any]:
    """The states of the random generators of torch, NumPy and Python, which every checkpoint holds."""
    found = {"torch": torch.get_rng_state(), "numpy": np.random.get_state(legacy=False), "python": random.getstate()}
    if torch.cuda.is_available() and torch.cuda.is_initialized():
        found["cuda"] = torch.cuda.get_rng_state_all()
    return found


def restore_generators(states: Mapping[str, Any]) -> None:
    torch.set_rng_state(states["torch"])
    np.random.set_state(states["numpy"])
    random.setstate(states["python"])
    if "cuda" in states and torch.cuda.is_available() and len(states["cuda"]) == torch.cuda.device_count():
        torch.cuda.set_rng_state_all(states["cuda"])


def _has_state(value: Any) -> bool:
    return callable(getattr(value, "state_dict", None)) and callable(getattr(value, "load_state_dict", None))


def _plain(value: Any, path: str) -> Any:
    """A subclass of a plain type, such as an IntEnum, would come back as another."""
    if isinstance(value, np.generic):  # numpy.float64 is a float
        return value.item()
    raise TypeError(
        f"{path} is a {type(value).__name__}, which would come back as a plain {type(value).__mro__[1].__name__}"
    )


def _key(key: Any, path: str) -> Any:
    if key is None or isinstance(key, bool | int | float | str):
        return key
    if isinstance(key, tuple) and all(isinstance(part, bool | int | float | str) for part in key):
        return list(key)
    raise TypeError(f"{path} has a key of type {type(key).__name__}, which no checkpoint can hold")

"""What a network reads, from a job's data set: images, a tensor of another kind, or several by name."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

__all__ = ["Inputs", "Shape", "shape_of", "values_of", "zeros"]

Shape = tuple[int, ...] | dict[str, tuple[int, ...]]
"""Of one sample; where there are several inputs, of each by its name."""

Inputs = Tensor | dict[str, Tensor]
"""A batch: [N, *shape], or one such tensor for each name."""


def shape_of(dataset: Mapping[str, Any]) -> Shape:
    """The `shape` that a model's builder is called with: [C, H, W] for images."""
    shape = dataset["shape"]
    return {name: tuple(one) for name, one in shape.items()} if isinstance(shape, Mapping) else tuple(shape)


def values_of(shape: Shape) -> int:
    """How many numbers one sample has."""
    return sum(math.prod(one) for one in (shape.values() if isinstance(shape, dict) else [shape]))


def zeros(shape: Shape, dtypes: str | Mapping[str, str], count: int, device: torch.device) -> Any:
    """A batch of `count` samples of zeros, as a network is given them; "float32" and other names of torch's types."""
    if isinstance(shape, dict):
        assert isinstance(dtypes, Mapping)
        return {name: _zeros(one, dtypes[name], count, device) for name, one in shape.items()}
    assert isinstance(dtypes, str)
    return _zeros(shape, dtypes, count, device)


def _zeros(shape: tuple[int, ...], dtype: str, count: int, device: torch.device) -> Tensor:
    return torch.zeros(count, *shape, dtype=getattr(torch, dtype), device=device)

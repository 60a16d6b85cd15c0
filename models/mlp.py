"""Fully connected networks. Each takes float images [N, C, H, W], or any [N, ...], and gives logits [N, classes]."""

from __future__ import annotations

import math
from collections.abc import Sequence

from torch import nn

from hpo.errors import StudyError

__all__ = ["mlp", "perceptron", "shallow"]

Shape = tuple[int, ...]


def perceptron(shape: Shape, classes: int) -> nn.Module:
    """One linear layer: [N, C, H, W] -> [N, C*H*W] -> [N, classes]."""
    return _dense(shape, classes, [], dropout=0.0)


def shallow(shape: Shape, classes: int, hidden_units: int) -> nn.Module:
    """One hidden layer with ReLU: [N, C, H, W] -> [N, hidden_units] -> [N, classes]."""
    return _dense(shape, classes, [hidden_units], dropout=0.0)


def mlp(shape: Shape, classes: int, layers: int, hidden_units: Sequence[int], dropout: float = 0.0) -> nn.Module:
    """`layers` hidden layers with ReLU, `hidden_units[i]` wide, each followed by dropout: [N, C, H, W] -> [N, classes].

    Raises StudyError unless there is one width per layer.
    """
    if not isinstance(hidden_units, Sequence):  # a row for all layers
        raise StudyError(
            f"hidden_units={hidden_units} is one number, and each of the {layers} layers needs its own",
            next=f'search it as Int(8, 64).per("layers"), or give a list: hidden_units={[hidden_units] * layers}',
        )
    if len(hidden_units) != layers:
        raise StudyError(
            f"layers={layers} with {len(hidden_units)} values of hidden_units",
            evidence=[f"hidden_units = {list(hidden_units)}"],
            next="give hidden_units one value per layer",
        )
    return _dense(shape, classes, hidden_units, dropout)


def _dense(shape: Shape, classes: int, widths: Sequence[int], dropout: float) -> nn.Sequential:
    inputs = math.prod(shape)
    steps: list[nn.Module] = [nn.Flatten()]
    for units in widths:
        steps += [nn.Linear(inputs, units), nn.ReLU()]
        if dropout > 0:
            steps.append(nn.Dropout(dropout))
        inputs = units
    steps.append(nn.Linear(inputs, classes))
    return nn.Sequential(*steps)

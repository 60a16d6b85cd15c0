"""The linear layers that a chain may have, read from the modules of a model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

__all__ = ["Layer", "dropout_mask", "read_layers"]


@dataclass(frozen=True)
class Layer:
    """x [N, I] -> dropout(relu(x weight' + bias)) [N, O]; ReLU and dropout are optional."""

    weight: Tensor
    bias: Tensor
    relu: bool = False
    dropout: float = 0.0


def read_layers(modules: Sequence[nn.Module]) -> list[Layer] | None:
    """The layers of Flatten, Linear, ReLU and Dropout; None with anything else among them."""
    layers: list[Layer] = []
    for number, module in enumerate(modules):
        last = layers[-1] if layers else None
        if type(module) is nn.Flatten and number == 0 and (module.start_dim, module.end_dim) == (1, -1):
            continue
        if type(module) is nn.Linear and module.bias is not None:
            layers.append(Layer(module.weight, module.bias))
        elif type(module) is nn.ReLU and last and not last.dropout:
            layers[-1] = Layer(last.weight, last.bias, relu=True)
        elif type(module) is nn.Dropout and last and not last.dropout:
            layers[-1] = Layer(last.weight, last.bias, last.relu, module.p)
        else:
            return None
    return layers or None


def dropout_mask(x: Tensor, probability: float) -> Tensor:
    """A mask of the shape of `x`, drawn as nn.Dropout does on a CPU: the same random numbers in the same order."""
    if probability == 1.0:
        return torch.zeros_like(x)
    return torch.empty_like(x).bernoulli_(1.0 - probability).div_(1.0 - probability)

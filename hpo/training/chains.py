"""Training a chain of linear layers by hand: forward, backward and update without autograd.

`Chain.learn` is specified by the autograd way in hpo.training.step: the same weights after many steps within rounding
(tests/training/test_chains.py). It is faster in three ways: products by oneDNN (hpo.training.products), each layer
updated while its gradient is in the cache (hpo.training.updates), and no graph.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim import Optimizer

from hpo.training.products import linear, product
from hpo.training.updates import Update, partial_update

__all__ = ["Chain", "Layer", "read_layers"]


@dataclass(frozen=True)
class Layer:
    """x [N, I] -> dropout(relu(x weight' + bias)) [N, O], both if asked for."""

    weight: Tensor
    bias: Tensor
    relu: bool = False
    dropout: float = 0.0


def read_layers(model: nn.Module) -> list[Layer] | None:
    """The layers of an nn.Sequential of Flatten, Linear, ReLU and Dropout in float32 on a CPU; None for any other."""
    if type(model) is not nn.Sequential or any(_hooked(module) for module in model.modules()):
        return None
    layers: list[Layer] = []
    for number, module in enumerate(model):
        last = layers[-1] if layers else None
        if type(module) is nn.Flatten and number == 0 and (module.start_dim, module.end_dim) == (1, -1):
            continue
        if type(module) is nn.Linear and _plain(module.weight) and _plain(module.bias):
            layers.append(Layer(module.weight, module.bias))
        elif type(module) is nn.ReLU and last and not last.dropout:
            layers[-1] = Layer(last.weight, last.bias, relu=True)
        elif type(module) is nn.Dropout and last and not last.dropout:
            layers[-1] = Layer(last.weight, last.bias, last.relu, module.p)
        else:
            return None
    distinct = len({id(layer.weight) for layer in layers}) == len(layers)
    return layers if layers and distinct else None


class Chain:
    """The layers of a model with the update of each. Weights, gradients and optimizer state stay where torch has them.

    optimizer: updates each layer within the backward pass, where it can; None: it shall not.
    """

    updates: bool
    """Whether `learn` updates the weights; else it leaves every gradient in `.grad`."""

    def __init__(self, layers: list[Layer], optimizer: Optimizer | None) -> None:
        self._layers = layers
        updates = [_update(layer, optimizer) for layer in layers]
        self.updates = None not in updates
        self._updates = [
            update if self.updates and update else _keep(layer) for layer, update in zip(layers, updates, strict=True)
        ]

    @torch.no_grad()
    def learn(self, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """One step on images [N, C, H, W] and labels int64 [N]: (mean cross entropy [], logits [N, classes])."""
        inputs, masks, logits = self._forward(images.flatten(1))
        loss, delta = _cross_entropy(logits, labels)
        for number in reversed(range(len(self._layers))):
            layer, x = self._layers[number], inputs[number]
            weight_gradient = product(delta.t(), x)
            bias_gradient = delta.sum(0)
            if number:
                delta = _through(self._layers[number - 1], product(delta, layer.weight), x, masks[number - 1])
            self._updates[number]((weight_gradient, bias_gradient))
        return loss, logits

    @torch.no_grad()
    def logits(self, images: Tensor) -> Tensor:
        """The model in evaluation mode: images [N, C, H, W] -> [N, classes]."""
        x = images.flatten(1)
        for layer in self._layers:
            x = linear(x, layer.weight, layer.bias, relu=layer.relu)
        return x

    def _forward(self, x: Tensor) -> tuple[list[Tensor], list[Tensor | None], Tensor]:
        """(input of each layer, dropout mask of each layer, logits)."""
        inputs: list[Tensor] = []
        masks: list[Tensor | None] = []
        for layer in self._layers:
            inputs.append(x)
            x = linear(x, layer.weight, layer.bias, relu=layer.relu)
            mask = _dropout_mask(x, layer.dropout) if layer.dropout else None
            x = x if mask is None else x * mask
            masks.append(mask)
        return inputs, masks, x


def _cross_entropy(logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """(mean loss [], its gradient [N, classes])."""
    log_shares = torch.log_softmax(logits, 1)
    loss = F.nll_loss(log_shares, labels)
    ones = torch.ones((len(labels), 1))
    return loss, log_shares.exp_().scatter_add_(1, labels.unsqueeze(1), -ones).mul_(1.0 / len(labels))


def _through(layer: Layer, delta: Tensor, out: Tensor, mask: Tensor | None) -> Tensor:
    """The gradient of `layer`'s output `out` becomes, in place, that of its product."""
    if mask is not None:
        delta.mul_(mask)
    if layer.relu:
        torch.ops.aten.threshold_backward.grad_input(delta, out, 0, grad_input=delta)
    return delta


def _dropout_mask(x: Tensor, probability: float) -> Tensor:
    """As nn.Dropout draws it on a CPU: the same random numbers in the same order."""
    if probability == 1.0:
        return torch.zeros_like(x)
    return torch.empty_like(x).bernoulli_(1.0 - probability).div_(1.0 - probability)


def _update(layer: Layer, optimizer: Optimizer | None) -> Update | None:
    return None if optimizer is None else partial_update(optimizer, (layer.weight, layer.bias))


def _keep(layer: Layer) -> Update:
    def keep(gradients: Sequence[Tensor]) -> None:
        layer.weight.grad, layer.bias.grad = gradients

    return keep


def _plain(parameter: Tensor | None) -> bool:
    return parameter is not None and parameter.dtype == torch.float32 and parameter.device.type == "cpu"


def _hooked(module: nn.Module) -> bool:
    return bool(
        module._forward_hooks or module._forward_pre_hooks or module._backward_hooks or module._backward_pre_hooks
    )

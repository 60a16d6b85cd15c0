"""Training a chain of layers without autograd: forward, backward and update.

A chain is any number of convolution stages (hpo.training.kernels.convolutions) followed by linear layers.

The autograd step in hpo.training.step is the specification of `FusedSequential.learn`: after many steps the weights are
the same up to rounding (tests/unit/training). It is faster for four reasons: small batches take one call of C
(fused_train_step), larger ones products (gemm), each layer is updated while its gradient is in the cache
(fused_optimizer), and there is no graph.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim import Optimizer

from hpo.torch_internals import has_hooks, is_watched
from hpo.training.kernels.choice import DEFAULT, Choice
from hpo.training.kernels.convolutions import Convolutions, ConvPoolReluBlock, read_stages
from hpo.training.kernels.fused_optimizer import Update, partial_update
from hpo.training.kernels.fused_train_step import FusedTrainStep
from hpo.training.kernels.gemm import linear, product
from hpo.training.kernels.layers import Layer, dropout_mask, read_layers

__all__ = ["FusedSequential", "fused_sequential"]


def fused_sequential(
    model: nn.Module,
    shape: tuple[int, int, int],
    optimizer: Optimizer | None,
    smoothing: float,
    choice: Choice = DEFAULT,
) -> FusedSequential | None:
    """`model` on images [C, H, W] = `shape`, for training without autograd; None if it is not a chain of known layers,
    or of those that `choice` leaves to autograd.

    optimizer: updates weights within the backward pass, where it can; None leaves the gradients in `.grad`.
    smoothing: of labels, as in torch's cross entropy.
    """
    if type(model) is not nn.Sequential or any(_changed(module) for module in model.modules()):
        return None
    modules = list(model)
    stages = read_stages(modules, shape)
    layers = read_layers(modules[3 * len(stages) :])
    if not (choice.stages if stages else choice.chains):
        return None
    convolutions = Convolutions.of(stages) if stages else None
    parameters = [one for part in (*stages, *(layers or ())) for one in (part.weight, part.bias)]
    if layers is None or (stages and convolutions is None) or len({id(one) for one in parameters}) != len(parameters):
        return None
    if not all(map(_ordinary, parameters)) or not _fit_together(shape, stages, layers):
        return None
    return FusedSequential(convolutions, layers, optimizer, smoothing, choice)


class FusedSequential:
    """The parts of a model and their updates. Weights, gradients and optimizer state stay where torch keeps them.

    optimizer: updates each part within the backward pass, where it can; None leaves the gradients in `.grad`.
    smoothing: the share of each image's label that is spread over all classes, as in torch's cross entropy.
    """

    updates: bool
    """Whether `learn` updates the weights; otherwise it leaves every gradient in `.grad`."""

    def __init__(
        self,
        convolutions: Convolutions | None,
        layers: Sequence[Layer],
        optimizer: Optimizer | None,
        smoothing: float = 0.0,
        choice: Choice = DEFAULT,
    ) -> None:
        self._smoothing, self._onednn_from = smoothing, choice.onednn_from
        self._convolutions = convolutions
        self._layers = tuple(layers)
        parts: list[Layer | ConvPoolReluBlock] = [*(convolutions.stages if convolutions else ()), *layers]
        updates = [None if optimizer is None else partial_update(optimizer, (p.weight, p.bias)) for p in parts]
        self.updates = None not in updates
        chosen = [
            update if self.updates and update else _keep(part) for part, update in zip(parts, updates, strict=True)
        ]
        self._stage_updates, self._layer_updates = chosen[: -len(layers)], chosen[-len(layers) :]
        self._whole = (
            None if optimizer is None else FusedTrainStep.of(convolutions, layers, optimizer, smoothing, choice)
        )

    @property
    def has_one_call(self) -> bool:
        """Whether a step of few images can be one call of C."""
        return self._whole is not None

    @torch.no_grad()
    def learn(self, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """One step on images [N, C, H, W] and labels int64 [N]: (mean cross entropy [], hits int64 []).

        Read both before the next step.
        """
        if self._whole is not None and len(images) <= self._whole.most:
            return self._whole.learn(images, labels)
        inputs, masks, logits = self._forward(self._features(images))
        loss, grad_output = _cross_entropy(logits, labels, self._smoothing)
        for number in reversed(range(len(self._layers))):
            x = inputs[number]
            grad_input = self._backward(number, x, grad_output)
            if grad_input is None:
                break
            grad_output = grad_input
            if number:
                _activation_backward(self._layers[number - 1], grad_output, x, masks[number - 1])
        if self._convolutions:
            for update, gradients in zip(
                reversed(self._stage_updates), self._convolutions.backward(grad_output), strict=True
            ):
                update(gradients)
        return loss, (logits.argmax(1) == labels).sum()

    @torch.no_grad()
    def logits(self, images: Tensor) -> Tensor:
        """The model in evaluation mode: images [N, C, H, W] -> [N, classes]."""
        x = self._features(images)
        for layer in self._layers:
            x = linear(x, layer.weight, layer.bias, relu=layer.relu, onednn_from=self._onednn_from)
        return x

    def _backward(self, number: int, x: Tensor, grad_output: Tensor) -> Tensor | None:
        """Update a layer, and return the gradient of its inputs `x` where a part below needs it."""
        wanted = number > 0 or self._convolutions is not None
        gradients = product(grad_output.t(), x, self._onednn_from), grad_output.sum(0)
        grad_input = (
            product(grad_output, self._layers[number].weight, self._onednn_from) if wanted else None
        )  # with the weights before their update
        self._layer_updates[number](gradients)
        return grad_input

    def _features(self, images: Tensor) -> Tensor:
        return images.flatten(1) if self._convolutions is None else self._convolutions.forward(images)

    def _forward(self, x: Tensor) -> tuple[list[Tensor], list[Tensor | None], Tensor]:
        """(input of each layer, dropout mask of each layer, logits)."""
        inputs: list[Tensor] = []
        masks: list[Tensor | None] = []
        for layer in self._layers:
            inputs.append(x)
            x = linear(x, layer.weight, layer.bias, relu=layer.relu, onednn_from=self._onednn_from)
            mask = dropout_mask(x, layer.dropout) if layer.dropout else None
            x = x if mask is None else x * mask
            masks.append(mask)
        return inputs, masks, x


def _cross_entropy(logits: Tensor, labels: Tensor, smoothing: float) -> tuple[Tensor, Tensor]:
    """(mean loss [], its gradient [N, classes])."""
    count, classes = logits.shape
    log_shares = torch.log_softmax(logits, 1)
    loss = F.nll_loss(log_shares, labels)
    own = torch.full((count, 1), 1.0 - smoothing)
    if smoothing > 0:
        loss = (1.0 - smoothing) * loss - smoothing * log_shares.mean()
        grad_output = log_shares.exp_().sub_(smoothing / classes)
    else:
        grad_output = log_shares.exp_()
    return loss, grad_output.scatter_add_(1, labels.unsqueeze(1), -own).mul_(1.0 / count)


def _activation_backward(layer: Layer, grad_output: Tensor, out: Tensor, mask: Tensor | None) -> None:
    """Turn the gradient of `layer`'s output `out`, in place, into that of its product."""
    if mask is not None:
        grad_output.mul_(mask)
    if layer.relu:
        torch.ops.aten.threshold_backward.grad_input(grad_output, out, 0, grad_input=grad_output)


def _keep(part: Layer | ConvPoolReluBlock) -> Update:
    def keep(gradients: Sequence[Tensor]) -> None:
        part.weight.grad, part.bias.grad = gradients

    return keep


def _fit_together(shape: tuple[int, int, int], stages: Sequence[ConvPoolReluBlock], layers: Sequence[Layer]) -> bool:
    """Whether each part fits the output of the one below. If not, autograd gives the better error."""
    channels, height, width = shape
    for stage in stages:
        if stage.weight.shape[1] != channels:
            return False
        channels, height, width = len(stage.bias), stage.rows, stage.columns
    given = [channels * height * width, *(len(layer.bias) for layer in layers)]
    return all(layer.weight.shape[1] == count for layer, count in zip(layers, given, strict=False))


def _ordinary(parameter: Tensor) -> bool:
    """Whether it is a trained float32 leaf tensor on a CPU, without hooks on its gradient."""
    kind = parameter.dtype == torch.float32 and parameter.device.type == "cpu"
    return kind and parameter.requires_grad and parameter.is_leaf and not is_watched(parameter)


def _changed(module: nn.Module) -> bool:
    """Whether this module has hooks, or its forward was replaced."""
    return has_hooks(module) or "forward" in vars(module)

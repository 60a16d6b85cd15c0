"""A whole step of a chain in one call of chain.c: forward, cross entropy, backward and update.

Otherwise Python and torch's operators spend 300 microseconds between the kernels of a small network's step, more than
the kernels take for a few images. And for a few images a step of a wide layer mostly reads and writes weights and
optimizer state, which these kernels do once forward and once backward (docs/decisions/chains.md has the figures).
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from functools import cache, partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim import SGD, Adam, AdamW, Optimizer

from hpo.torch_internals import spare_the_compiler
from hpo.training.kernels.choice import DEFAULT, Choice
from hpo.training.kernels.convolutions import Convolutions, ConvPoolReluBlock, Shape
from hpo.training.kernels.fused_optimizer import adam_state, group_of, sgd_state
from hpo.training.kernels.layers import Layer, dropout_mask
from hpo.training.kernels.native import library
from hpo.training.kernels.rounding import agree

__all__ = ["FusedTrainStep", "usable"]

NARROW = 100_000
"""The most weights that count as few. The first layer's do not count where nothing below it needs a gradient."""

_ADAM, _SGD, _MOMENTUM, _NESTEROV = range(4)


class _Group(ctypes.Structure):
    """This and the next four are as in chain.c."""

    _fields_ = (
        *((name, ctypes.c_int32) for name in ("kind", "decoupled")),
        *((name, ctypes.c_double) for name in ("lr", "beta1", "beta2", "eps", "decay", "momentum")),
    )


class _Parameter(ctypes.Structure):
    _fields_ = (
        ("group", ctypes.POINTER(_Group)),
        ("size", ctypes.c_int64),
        *((name, ctypes.c_void_p) for name in ("value", "exp_avg", "exp_avg_sq", "count")),
    )


class _Stage(ctypes.Structure):
    _fields_ = (
        ("shape", Shape),
        *((name, _Parameter) for name in ("weight", "bias")),
        *(
            (name, ctypes.c_void_p)
            for name in ("x", "y", "dx", "dy", "argmax", "scratch", "weight_gradient", "bias_gradient")
        ),
    )


class _Layer(ctypes.Structure):
    _fields_ = (
        *((name, ctypes.c_int32) for name in ("inputs", "outputs", "relu")),
        *((name, _Parameter) for name in ("weight", "bias")),
        *((name, ctypes.c_void_p) for name in ("x", "y", "grad_output", "mask")),
    )


class _Network(ctypes.Structure):
    _fields_ = (
        *((name, ctypes.c_int32) for name in ("stages", "layers", "padding")),
        ("smoothing", ctypes.c_float),
        ("stage", ctypes.POINTER(_Stage)),
        ("layer", ctypes.POINTER(_Layer)),
        ("grad_input", ctypes.c_void_p),
    )


class FusedTrainStep:
    """Steps of stages and layers under one optimizer. Weights and optimizer state stay where torch keeps them.

    smoothing: of the labels, as in torch's cross entropy
    choice:    up to how many images this way is faster than products
    """

    def __init__(
        self,
        convolutions: Convolutions | None,
        layers: Sequence[Layer],
        optimizer: Optimizer,
        smoothing: float,
        kernels: ctypes.CDLL,
        choice: Choice = DEFAULT,
    ) -> None:
        self._kernels, self._convolutions, self._layers = kernels, convolutions, tuple(layers)
        wide = sum(layer.weight.numel() for layer in layers[0 if convolutions else 1 :]) > NARROW
        self.most = choice.one_call if wide else choice.one_call_narrow
        self._groups = [(_group(optimizer, options), options) for options in optimizer.param_groups]
        self._held: list[Tensor] = []  # what the structures point to
        self._rows = (_Layer * len(layers))(*[self._layer(layer, optimizer) for layer in layers])
        stages = convolutions.stages if convolutions else ()
        self._stages = (_Stage * len(stages))(*[self._stage(stage, optimizer) for stage in stages])
        first = stages[0] if stages else None
        padding = first.padding if first else 0
        self._network = _Network(len(stages), len(layers), padding, smoothing, self._stages, self._rows)
        self._pixels = first.weight.shape[1] * first.height * first.width if first else self._rows[0].inputs
        self._loss, self._hits = torch.zeros(()), torch.zeros((), dtype=torch.int64)
        self._capacity = 0
        self._buffers: list[Tensor] = []

    @classmethod
    def of(
        cls,
        convolutions: Convolutions | None,
        layers: Sequence[Layer],
        optimizer: Optimizer,
        smoothing: float = 0.0,
        choice: Choice = DEFAULT,
    ) -> FusedTrainStep | None:
        """None where there are no kernels, or none for this optimizer. Each part must fit the one below."""
        contiguous = all(layer.weight.is_contiguous() and layer.bias.is_contiguous() for layer in layers)
        if type(optimizer) not in (Adam, AdamW, SGD) or not contiguous:
            return None
        kernels = _tried_kernels()
        return None if kernels is None else cls(convolutions, layers, optimizer, smoothing, kernels, choice)

    def learn(self, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """One step on images float32 [N, C, H, W] and labels int64 [N]: (mean cross entropy [], hits int64 []).

        The next step overwrites both. Raises IndexError for a label outside the classes and ValueError for images of
        another size; no weight has changed then.
        """
        count = len(images)
        if images.numel() != count * self._pixels:
            raise ValueError(f"images {list(images.shape)} do not have {self._pixels} values each")
        if count > self._capacity:
            self._allocate(count)
        for group, options in self._groups:
            group.lr = options["lr"]
        masks = self._masks(count)
        images = images.contiguous()
        status = self._kernels.learn(self._network, _at(images), _at(labels), count, _at(self._loss), _at(self._hits))
        del masks  # until here
        if status:
            raise IndexError(f"a label of {labels.tolist()} is not a class: there are {self._rows[-1].outputs}")
        return self._loss, self._hits

    def _masks(self, count: int) -> list[Tensor]:
        masks = []
        for layer, row in zip(self._layers, self._rows, strict=True):
            if layer.dropout:
                masks.append(dropout_mask(torch.empty((count, row.outputs)), layer.dropout))
                row.mask = _at(masks[-1])
        return masks

    def _allocate(self, count: int) -> None:
        """What the layers write for up to so many images, and the stages."""
        outputs = [torch.empty((count, row.outputs)) for row in self._rows]
        grad_outputs = [torch.empty_like(output) for output in outputs]
        features = torch.empty((2, count, self._rows[0].inputs))
        for number, row in enumerate(self._rows):
            row.x = _at(outputs[number - 1] if number else features[0])  # without stages, the images themselves
            row.y, row.grad_output = _at(outputs[number]), _at(grad_outputs[number])
        if self._convolutions:
            self._network.grad_input = _at(features[1])
            memory = self._convolutions.memory(count)
            for number, stage in enumerate(self._stages):
                stage.shape = memory.shapes[number]
                stage.x, stage.y = map(_at, memory.arrays[number : number + 2])
                stage.dx = _at(memory.gradients[number]) if number else None
                stage.dy, stage.argmax = _at(memory.gradients[number + 1]), _at(memory.argmax[number])
        self._capacity, self._buffers = count, [*outputs, *grad_outputs, features]

    def _layer(self, layer: Layer, optimizer: Optimizer) -> _Layer:
        outputs, inputs = layer.weight.shape
        parts = [self._parameter(parameter, optimizer) for parameter in (layer.weight, layer.bias)]
        return _Layer(inputs, outputs, layer.relu, *parts)

    def _stage(self, stage: ConvPoolReluBlock, optimizer: Optimizer) -> _Stage:
        row = _Stage(Shape(), *[self._parameter(parameter, optimizer) for parameter in (stage.weight, stage.bias)])
        room = [stage.scratch(self._kernels.lanes()), torch.empty_like(stage.weight), torch.empty_like(stage.bias)]
        row.scratch, row.weight_gradient, row.bias_gradient = map(_at, room)
        self._held += room
        return row

    def _parameter(self, parameter: Tensor, optimizer: Optimizer) -> _Parameter:
        options = group_of(optimizer, parameter)
        group = next(group for group, other in self._groups if other is options)
        count: Tensor | None = None
        if isinstance(optimizer, SGD):
            buffer = sgd_state(optimizer, options, parameter)
            exp_avg = exp_avg_sq = parameter if buffer is None else buffer  # what the rule has not is not touched
        else:
            count, exp_avg, exp_avg_sq = adam_state(optimizer, parameter)
        self._held += [parameter, exp_avg, exp_avg_sq, *([] if count is None else [count])]
        places = map(_at, (parameter, exp_avg, exp_avg_sq))
        return _Parameter(ctypes.pointer(group), parameter.numel(), *places, None if count is None else _at(count))


def _group(optimizer: Optimizer, options: dict[str, Any]) -> _Group:
    group = _Group(decay=options["weight_decay"])
    if isinstance(optimizer, SGD):
        group.kind = (_NESTEROV if options["nesterov"] else _MOMENTUM) if options["momentum"] else _SGD
        group.momentum = options["momentum"]
    else:
        group.kind, group.decoupled = _ADAM, isinstance(optimizer, AdamW)
        group.beta1, group.beta2 = options["betas"]
        group.eps = options["eps"]
    return group


def usable() -> bool:
    """Whether this machine's compiler made kernels, and they compute what torch does."""
    return _tried_kernels() is not None


@cache
def _tried_kernels() -> ctypes.CDLL | None:
    """The kernels, if they compute what torch computes as this machine's compiler built them."""
    kernels = library("chain")
    if kernels is None:
        return None
    pointer, number = ctypes.c_void_p, ctypes.c_int32
    kernels.learn.argtypes = (ctypes.POINTER(_Network), pointer, pointer, number, pointer, pointer)
    kernels.learn.restype = number
    spare_the_compiler()
    # An eps as large as gradients: with Adam's own a first step is their sign, which near zero depends on rounding.
    ways = (
        (partial(SGD, lr=0.5), _sgd_step),
        (partial(Adam, lr=0.5, eps=0.1, weight_decay=0.1), _first_adam_step),
    )
    counts = (7, 9)  # few images, and more
    tried = [_step_agrees(kernels, optimizer, step, count) for optimizer, step in ways for count in counts]
    return kernels if all(tried) else None


def _sgd_step(value: Tensor, gradient: Tensor) -> Tensor:
    return value - 0.5 * gradient


def _first_adam_step(value: Tensor, gradient: Tensor) -> Tensor:
    """In the first step both moments come from this one gradient."""
    decayed = gradient + 0.1 * value
    return value - 0.5 * decayed / (decayed.abs() + 0.1)


def _step_agrees(
    kernels: ctypes.CDLL, optimizer: Callable[..., Optimizer], step: Callable[[Tensor, Tensor], Tensor], count: int
) -> bool:
    """Whether a step of two layers on `count` images equals `step` in float64.

    The optimizers' rules are written out here, because torch's optimizers load its compiler: 160 MB in every trainer.
    """
    random = torch.Generator().manual_seed(0)  # its own: a trial's random numbers must not depend on this
    x, *values = (torch.randn(shape, generator=random) for shape in ((count, 37), (21, 37), (21,), (9, 21), (9,)))
    labels = torch.arange(count) % 9
    with torch.inference_mode(False), torch.enable_grad():
        ours, exact = ([nn.Parameter(value.to(dtype) / 4) for value in values] for dtype in (x.dtype, torch.float64))
        hidden = F.relu(F.linear(x.double(), *exact[:2]))
        loss = F.cross_entropy(F.linear(hidden, *exact[2:]), labels, label_smoothing=0.1)
        stepped = [step(value, slope) for value, slope in zip(exact, torch.autograd.grad(loss, exact), strict=True)]
    layers = [Layer(ours[0], ours[1], relu=True), Layer(ours[2], ours[3])]
    found, _ = FusedTrainStep(None, layers, optimizer(ours), 0.1, kernels).learn(x, labels)
    return agree((found, *ours), (loss, *stepped))


def _at(tensor: Tensor) -> int:
    return tensor.data_ptr()

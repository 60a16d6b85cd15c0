"""Linear layers at small batches, by the kernels of layers.c: a weight is updated while the backward pass reads it.

At a batch of a few images a step is not arithmetic: it is reading and writing weights and optimizer state. Products and
`partial_update` touch a weight ten times (forward, gradient of the inputs, gradient written and read, update), this way
touches it as often as it must (docs/decisions/chains.md has the figures).
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import SGD, Adam, AdamW, Optimizer

from hpo.training.native import library
from hpo.training.updates import adam_state, group_of, sgd_state

__all__ = ["MOST_BACKWARD", "MOST_FORWARD", "SmallBatchLayer"]

MOST_FORWARD, MOST_BACKWARD = 8, 24
"""Images from which on products by oneDNN are no slower (AMD EPYC, Zen 5)."""

_ADAM, _SGD, _MOMENTUM, _NESTEROV = range(4)


class _Rule(ctypes.Structure):
    """As in layers.c."""

    _fields_ = (
        ("kind", ctypes.c_int32),
        *(
            (name, ctypes.c_float)
            for name in ("rate", "decay", "shrink", "first", "second", "scale", "eps", "momentum")
        ),
    )


class SmallBatchLayer:
    """x [N, I] -> x weight' + bias [N, O], and the backward pass that updates both. No autograd."""

    def __init__(self, weight: Tensor, bias: Tensor, optimizer: Optimizer, kernels: ctypes.CDLL) -> None:
        self._weight, self._bias = weight, bias
        self._kernels = kernels
        self._parts = [_stepper(optimizer, parameter) for parameter in (weight, bias)]
        self._ones = torch.ones(MOST_BACKWARD)

    @classmethod
    def of(cls, weight: Tensor, bias: Tensor, optimizer: Optimizer) -> SmallBatchLayer | None:
        """None where there are no kernels, or none for this optimizer."""
        if type(optimizer) not in (Adam, AdamW, SGD) or not (weight.is_contiguous() and bias.is_contiguous()):
            return None
        kernels = _tried_kernels()
        return None if kernels is None else cls(weight, bias, optimizer, kernels)

    def forward(self, x: Tensor) -> Tensor:
        x = x.contiguous()
        outputs, inputs = self._weight.shape
        y = x.new_empty((len(x), outputs))
        self._kernels.layer_forward(len(x), inputs, outputs, _at(x), _at(self._weight), _at(self._bias), _at(y))
        return y

    def backward(self, x: Tensor, delta: Tensor, *, below: bool) -> Tensor | None:
        """x [N, I], delta [N, O], the gradient of the output -> that of x, if `below` is wanted. Updates the layer."""
        x, delta = x.contiguous(), delta.contiguous()
        outputs, inputs = self._weight.shape
        gradient = torch.empty_like(x) if below else None
        (rule, *state), (bias_rule, *bias_state) = (part() for part in self._parts)
        back = self._kernels.layer_backward
        place = None if gradient is None else _at(gradient)
        back(rule, len(x), inputs, outputs, _at(x), _at(delta), _at(self._weight), *state, place)
        # The gradient of a bias is that of a weight whose input is always one.
        back(bias_rule, len(x), outputs, 1, _at(delta), _at(self._ones), _at(self._bias), *bias_state, None)
        return gradient


def _stepper(optimizer: Optimizer, parameter: Tensor) -> Callable[[], tuple[_Rule, int, int]]:
    """A function that counts one step of `parameter` and gives its rule and where its state lies."""
    group = group_of(optimizer, parameter)
    return _sgd(optimizer, group, parameter) if isinstance(optimizer, SGD) else _adam(optimizer, group, parameter)


def _adam(optimizer: Optimizer, group: dict[str, Any], parameter: Tensor) -> Callable[[], tuple[_Rule, int, int]]:
    count, mean, square = adam_state(optimizer, parameter)
    (beta1, beta2), decay, decoupled = group["betas"], group["weight_decay"], isinstance(optimizer, AdamW)
    rule = _Rule(kind=_ADAM, shrink=1.0, first=1 - beta1, second=1 - beta2, eps=group["eps"])
    rule.decay = 0.0 if decoupled else decay

    def step() -> tuple[_Rule, int, int]:
        count.add_(1)
        steps, lr = count.item(), group["lr"]
        rule.rate = lr / (1 - beta1**steps)
        rule.scale = (1 - beta2**steps) ** -0.5
        rule.shrink = 1 - lr * decay if decoupled else 1.0
        return rule, _at(mean), _at(square)

    return step


def _sgd(optimizer: Optimizer, group: dict[str, Any], parameter: Tensor) -> Callable[[], tuple[_Rule, int, int]]:
    buffer = sgd_state(optimizer, group, parameter)
    kind = _SGD if buffer is None else _NESTEROV if group["nesterov"] else _MOMENTUM
    rule = _Rule(kind=kind, shrink=1.0, decay=group["weight_decay"], momentum=group["momentum"])
    place = _at(parameter if buffer is None else buffer)  # what the rule has not is not touched

    def step() -> tuple[_Rule, int, int]:
        rule.rate = group["lr"]
        return rule, place, place

    return step


@cache
def _tried_kernels() -> ctypes.CDLL | None:
    """The kernels, if this machine's compiler has made of them what torch computes."""
    kernels = library("layers")
    if kernels is None:
        return None
    pointer, number = ctypes.c_void_p, ctypes.c_int32
    kernels.layer_forward.argtypes, kernels.layer_forward.restype = (*[number] * 3, *[pointer] * 4), None
    kernels.layer_backward.argtypes = (ctypes.POINTER(_Rule), *[number] * 3, *[pointer] * 6)
    kernels.layer_backward.restype = None
    random = torch.Generator().manual_seed(0)  # of its own: a trial's random numbers do not depend on who came first
    x, weight, bias, delta = (torch.randn(shape, generator=random) for shape in ((7, 37), (9, 37), (9,), (7, 9)))
    with torch.no_grad(), torch.inference_mode(False):
        w, b = nn.Parameter(weight.clone()), nn.Parameter(bias.clone())
        layer = SmallBatchLayer(w, b, SGD([w, b], lr=0.5), kernels)
        found = [layer.forward(x), layer.backward(x, delta, below=True), w, b]
    theirs = [x @ weight.t() + bias, delta @ weight, weight - 0.5 * delta.t() @ x, bias - 0.5 * delta.sum(0)]
    agree = all(
        f is not None and torch.allclose(f, t, rtol=1e-3, atol=1e-3) for f, t in zip(found, theirs, strict=True)
    )
    return kernels if agree else None


def _at(tensor: Tensor) -> int:
    return tensor.data_ptr()

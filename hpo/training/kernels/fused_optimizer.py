"""torch's fused optimizers, applied to a few parameters at a time while their gradients are still in the cache.

`Optimizer.step` walks all parameters after the backward pass: by then the first gradients have left the cache, and the
walk in Python takes 40 microseconds. These are the kernels that `fused=True` calls; the state stays in
`optimizer.state` under torch's own names, so that checkpoints are the same either way.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.optim import SGD, Adam, AdamW, Optimizer

from hpo.torch_internals import foreach_add, fused_kernel

__all__ = ["Update", "adam_state", "group_of", "partial_update", "sgd_state"]

Update = Callable[[Sequence[Tensor]], None]
"""Takes a step of the parameters it was made for, from one gradient for each."""


GroupUpdate = Callable[[list[Tensor]], None]
"""As Update, for parameters in one group of an optimizer."""


def partial_update(optimizer: Optimizer, parameters: Sequence[Tensor]) -> Update | None:
    """A step of `optimizer` for `parameters` alone; None where torch has no fused kernel for it on the CPU."""
    make = _MAKERS.get(type(optimizer))
    if make is None or not all(parameter.device.type == "cpu" for parameter in parameters):
        return None
    by_group: list[tuple[list[int], GroupUpdate]] = []
    for group in optimizer.param_groups:
        members = {id(parameter) for parameter in group["params"]}
        places = [place for place, parameter in enumerate(parameters) if id(parameter) in members]
        if places:
            step = make(optimizer, group, [parameters[place] for place in places])
            if step is None:
                return None
            by_group.append((places, step))

    def update(gradients: Sequence[Tensor]) -> None:
        for places, step in by_group:
            step([gradients[place] for place in places])

    return update


def group_of(optimizer: Optimizer, parameter: Tensor) -> dict[str, Any]:
    """The parameter group that `parameter` is in."""
    return next(group for group in optimizer.param_groups if any(parameter is one for one in group["params"]))


def adam_state(optimizer: Optimizer, parameter: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """(step [], exp_avg, exp_avg_sq), created where they are missing."""
    return (
        _state(optimizer, parameter, "step", torch.zeros(())),
        _state(optimizer, parameter, "exp_avg", torch.zeros_like(parameter)),
        _state(optimizer, parameter, "exp_avg_sq", torch.zeros_like(parameter)),
    )


def sgd_state(optimizer: Optimizer, group: dict[str, Any], parameter: Tensor) -> Tensor | None:
    """The momentum buffer; None without momentum. It starts at zero, so the first step is torch's, a copy."""
    return _state(optimizer, parameter, "momentum_buffer", torch.zeros_like(parameter)) if group["momentum"] else None


def _adam(optimizer: Optimizer, group: dict[str, Any], parameters: list[Tensor]) -> GroupUpdate | None:
    kernel = fused_kernel("adamw" if isinstance(optimizer, AdamW) else "adam")
    if kernel is None:
        return None
    states = [adam_state(optimizer, parameter) for parameter in parameters]
    steps, means, squares = (list(column) for column in zip(*states, strict=True))
    beta1, beta2 = group["betas"]
    constants = {"beta1": beta1, "beta2": beta2, "eps": group["eps"], "weight_decay": group["weight_decay"]}
    constants |= {"amsgrad": False, "maximize": False}

    def step(gradients: list[Tensor]) -> None:
        foreach_add(steps, 1)
        kernel(parameters, gradients, means, squares, [], steps, lr=group["lr"], **constants)

    return step


def _sgd(optimizer: Optimizer, group: dict[str, Any], parameters: list[Tensor]) -> GroupUpdate | None:
    kernel = fused_kernel("sgd")
    if kernel is None:
        return None
    held = [sgd_state(optimizer, group, parameter) for parameter in parameters]
    buffers = [buffer for buffer in held if buffer is not None]
    constants = {"momentum": group["momentum"], "nesterov": group["nesterov"], "weight_decay": group["weight_decay"]}
    constants |= {"dampening": 0.0, "maximize": False, "is_first_step": False}

    def step(gradients: list[Tensor]) -> None:
        kernel(parameters, gradients, buffers, lr=group["lr"], **constants)

    return step


_MAKERS: dict[type[Optimizer], Callable[[Optimizer, dict[str, Any], list[Tensor]], GroupUpdate | None]] = {
    Adam: _adam,
    AdamW: _adam,
    SGD: _sgd,
}


def _state(optimizer: Optimizer, parameter: Tensor, name: str, initial: Tensor) -> Tensor:
    held: Tensor = optimizer.state[parameter].setdefault(name, initial.detach())
    return held

"""torch's private names: this is the only file that knows them. Another version may lack any of them.

Everything here works without them, slower or not at all, and `missing` names those that this torch lacks.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Generator, Tensor, nn
from torch.optim import Optimizer
from torch.utils import flop_counter

__all__ = [
    "NAMES",
    "foreach_add",
    "foreach_copy",
    "foreach_lerp",
    "fused_kernel",
    "has_hooks",
    "is_watched",
    "linear_pointwise",
    "missing",
    "sample_dirichlet",
    "spare_the_compiler",
]

NAMES = (
    "_fused_adam_",
    "_fused_adamw_",
    "_fused_sgd_",
    "_foreach_add_",
    "_foreach_lerp_",
    "_foreach_copy_",
    "_sample_dirichlet",
)
"""Of the module torch."""

_FOUND: dict[str, Callable[..., Any] | None] = {name: getattr(torch, name, None) for name in NAMES}
"""A test removes them one by one."""


MODULE_HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
TENSOR_HOOKS = ("_backward_hooks", "_post_accumulate_grad_hooks")


def missing() -> tuple[str, ...]:
    """The names that this torch lacks."""
    module, tensor = nn.Module(), torch.zeros(())
    lacking = [name for name, kernel in _FOUND.items() if kernel is None]
    lacking += [name for name in MODULE_HOOKS if not hasattr(module, name)]
    return (*lacking, *(name for name in TENSOR_HOOKS if not hasattr(tensor, name)))


def has_hooks(module: nn.Module) -> bool:
    """Whether something is called in the module's passes; True where this torch does not say."""
    return any(getattr(module, name, True) for name in MODULE_HOOKS)


def is_watched(tensor: Tensor) -> bool:
    """Whether something is called with the tensor's gradient; True where this torch does not say."""
    return any(getattr(tensor, name, True) for name in TENSOR_HOOKS)


def fused_kernel(name: str) -> Callable[..., Any] | None:
    """The kernel behind `fused=True` of a torch optimizer: `name` is "adam", "adamw" or "sgd"."""
    return _FOUND[f"_fused_{name}_"]


def foreach_add(tensors: Sequence[Tensor], value: float) -> None:
    """Add `value` to each tensor in place."""
    if kernel := _FOUND["_foreach_add_"]:
        kernel(tensors, value)
    else:
        for tensor in tensors:
            tensor.add_(value)


def foreach_lerp(tensors: Sequence[Tensor], ends: Sequence[Tensor], weight: float) -> None:
    """Move each tensor the share `weight` of the way to its end, in place."""
    if kernel := _FOUND["_foreach_lerp_"]:
        kernel(tensors, ends, weight)
    else:
        for tensor, end in zip(tensors, ends, strict=True):
            tensor.lerp_(end, weight)


def foreach_copy(tensors: Sequence[Tensor], sources: Sequence[Tensor]) -> None:
    """Copy each source into its tensor."""
    if kernel := _FOUND["_foreach_copy_"]:
        kernel(tensors, sources)
    else:
        for tensor, source in zip(tensors, sources, strict=True):
            tensor.copy_(source)


def sample_dirichlet(concentration: Tensor, generator: Generator) -> Tensor:
    """A draw from the Dirichlet distribution with `concentration` [K], on its device: [K], summing to 1."""
    if kernel := _FOUND["_sample_dirichlet"]:
        drawn: Tensor = kernel(concentration, generator)
        return drawn
    import numpy as np

    seed = int(torch.randint(2**62, (), generator=generator, device=generator.device))
    shares = np.random.default_rng(seed).dirichlet(concentration.double().cpu().numpy())
    return torch.from_numpy(shares).to(concentration)


def linear_pointwise() -> Callable[..., Tensor] | None:
    """oneDNN's linear layer, the operator that torch.compile uses; None where this build of torch has none."""
    if not torch.backends.mkldnn.is_available():
        return None
    operator = getattr(torch.ops.mkldnn, "_linear_pointwise", None)
    return None if operator is None else operator.default


COMPILER, DISABLED = "torch._dynamo", "__dynamo_disable"


def spare_the_compiler() -> None:
    """Keep torch from importing torch._dynamo (160 MB, one second) when an optimizer is made, or operations are
    counted, only to disable it. Once something else imports it, all is as torch has it.

    This is private to torch/_compile.py. If that has changed, the import happens as before (a test covers it).
    """
    if COMPILER in sys.modules or any(isinstance(finder, _Unspared) for finder in sys.meta_path):
        return
    counting = getattr(flop_counter, "_FlopCounterMode", None)
    wrapped = getattr(counting, "__torch_dispatch__", None)
    methods: tuple[Any, ...] = (Optimizer.add_param_group, Optimizer.zero_grad, wrapped)
    plain = [method.__wrapped__ for method in methods if hasattr(method, "__wrapped__")]
    for function in plain:
        setattr(function, DISABLED, function)
    sys.meta_path.insert(0, _Unspared(plain))


class _Unspared:
    """Finds no module. It hears when torch's compiler is imported, and leaves its functions to it."""

    def __init__(self, functions: Sequence[Any]) -> None:
        self._functions = functions

    def find_spec(self, name: str, path: object = None, target: object = None) -> None:
        if name == COMPILER:
            for function in self._functions:
                delattr(function, DISABLED)
            self._functions = ()

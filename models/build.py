"""From a row of MODELS to a network, and what the network costs."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from contextlib import suppress
from importlib import import_module
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.utils.flop_counter import FlopCounterMode

from hpo.errors import HpoError, StudyError, near_miss
from hpo.former_names import former_name, line_instead
from hpo.models.inputs import Shape, values_of, zeros
from hpo.torch_internals import spare_the_compiler
from hpo.user_code import definition_of, line_of

__all__ = ["build_model", "count_macs", "count_parameters", "resolve", "size_bytes", "trace"]

MOST_BYTES, MOST_VALUES = 40 << 20, 50_000
"""Of a network, and of a sample, that are traced on the CPU: for the meta device torch imports over a second of Python,
and a pass of two such samples took 2 to 43 ms, where it took 3 to 169 ms there (perceptron to ResNet-9, one core)."""


def build_model(builder: str, shape: Shape, classes: int, parameters: Mapping[str, Any]) -> nn.Module:
    """The network that `builder` ("module:function") makes for samples of `shape`: (C, H, W) for images.

    Raises StudyError when the builder cannot be imported, does not take `parameters`, or gives no nn.Module.
    An error of the builder itself passes unchanged: it is a bug of the model, and its traceback helps.
    """
    function = resolve(builder, "model builder")
    try:
        inspect.signature(function).bind(shape, classes, **parameters)
    except TypeError as error:
        raise StudyError(
            f"model builder {builder} cannot be called with the study's parameters: {error}",
            evidence=[
                f"builder takes  {inspect.signature(function)}",
                f"study gives    {', '.join(sorted(parameters)) or 'none'}",
                definition_of(function),
            ],
            next="add the missing parameter, or remove the surplus one, in the study's space or in the builder",
        ) from error
    model = function(shape, classes, **parameters)
    if not isinstance(model, nn.Module):
        raise StudyError(
            f"model builder {builder} returned {type(model).__name__}, not a torch.nn.Module",
            evidence=[definition_of(function)],
            next="let it return the network",
        )
    if "LightningModule" in {kind.__name__ for kind in type(model).__mro__}:
        raise StudyError(
            f"model builder {builder} returned a LightningModule, whose training_step hpo's own training never calls",
            evidence=[definition_of(function)],
            next="keep Lightning's Trainer: write def objective(trial) around Trainer.fit, which returns the metric,"
            " and run it with `hpo run --study FILE.py:objective` (docs/own-training.md)",
        )
    return model


def resolve(reference: str, what: str) -> Callable[..., Any]:
    """The function that "module:function" names; `what` names its purpose in an error."""
    module_name, _, function_name = reference.partition(":")
    if not module_name or not function_name:
        raise StudyError(f'{what} "{reference}" is not of the form module:function')
    try:
        module = import_module(module_name)
    except HpoError as error:
        evidence = [*error.evidence, *filter(None, [line_of(error)])]
        raise StudyError(f"{what} {reference}: {error.fact}", evidence=evidence, next=error.next) from error
    except (Exception, SystemExit) as error:
        now = former_name(module_name)
        try_it = f"make `python -c 'import {module_name}'` work from the folder you run hpo in"
        raise StudyError(
            f'{what} "{reference}" cannot be imported',
            evidence=[f"{type(error).__name__}: {error}", *filter(None, [line_of(error)])],
            next=f'hpo\'s own is "{now}:{function_name}"' if now else line_instead(error) or try_it,
        ) from error
    function = getattr(module, function_name, None)
    if not callable(function):
        functions = [name for name, value in vars(module).items() if inspect.isroutine(value) and name[0] != "_"]
        raise StudyError(
            f"{what}: module {module_name} has no function {function_name}",
            evidence=[near_miss(function_name, functions), str(getattr(module, "__file__", ""))],
        )
    found: Callable[..., Any] = function
    return found


def count_parameters(model: nn.Module) -> int:
    """Trainable and frozen parameters; a shared one counts once."""
    return sum(parameter.numel() for parameter in model.parameters())


def size_bytes(model: nn.Module) -> int:
    """Memory of parameters and buffers."""
    return sum(tensor.nbytes for tensor in [*model.parameters(), *model.buffers()])


def count_macs(model: nn.Module, shape: Shape, dtypes: str | Mapping[str, str] = "float32") -> int:
    """Multiply-accumulates of one forward pass over one sample of `shape`: convolutions and matrix products.

    Neither parameters nor buffers change: the pass is one of zeros over zeros on the CPU, or of no arithmetic at all,
    on the meta device, where the network or its samples are large. A model whose forward reads values (`.item()`,
    `if x.sum() > 0`) cannot run there and is run on its own device instead.
    """
    return trace(model, shape, dtypes)[0]


def trace(model: nn.Module, shape: Shape, dtypes: str | Mapping[str, str] = "float32") -> tuple[int, list[int]]:
    """(multiply-accumulates for one sample, shape of the logits of a batch of two), as `count_macs` counts."""
    spare_the_compiler()
    if size_bytes(model) <= MOST_BYTES and values_of(shape) <= MOST_VALUES:
        passing = suppress(RuntimeError, NotImplementedError)  # it may hold a tensor elsewhere
        with passing, torch.device("cpu"), torch.random.fork_rng([]):
            return _trace(model, shape, dtypes, lambda tensor: torch.zeros(tensor.shape, dtype=tensor.dtype))
    try:
        return _trace(model, shape, dtypes, lambda tensor: torch.empty_like(tensor, device="meta"))
    except (RuntimeError, NotImplementedError):
        return _trace(model, shape, dtypes, torch.clone)


def _trace(
    model: nn.Module, shape: Shape, dtypes: str | Mapping[str, str], stand_in: Callable[[Tensor], Tensor]
) -> tuple[int, list[int]]:
    named = [*model.named_parameters(remove_duplicate=False), *model.named_buffers(remove_duplicate=False)]
    state = {name: stand_in(tensor.detach()) for name, tensor in named}
    device = next((tensor.device for tensor in state.values()), torch.device("meta"))
    images = 2  # batch normalisation over 1x1 maps refuses a single image
    batch = zeros(shape, dtypes, images, device)
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        logits = functional_call(model, state, (batch,))
    return int(counter.get_total_flops()) // (2 * images), list(logits.shape)

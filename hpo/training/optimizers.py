"""Optimizers as rows of a table, in the fastest implementation torch has for the device."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from hpo.torch_internals import spare_the_compiler
from hpo.training.configuration import Recipe
from hpo.training.lion import Lion
from hpo.training.muon import MuonWithAdamW
from hpo.training.own_parts import OwnPart

__all__ = ["OPTIMIZERS", "build_optimizer", "join_late", "optimizer_tensors", "restore_optimizer", "set_lr"]

Groups = list[dict[str, Any]]

SHARE = "hpo_lr_share"
"""In a group of an optimizer of the user's own: its learning rate over the recipe's."""


def _adam(groups: Groups, recipe: Recipe, on_gpu: bool) -> Optimizer:
    return torch.optim.Adam(groups, **_averages(recipe), fused=True, capturable=on_gpu)


def _adamw(groups: Groups, recipe: Recipe, on_gpu: bool) -> Optimizer:
    return torch.optim.AdamW(groups, **_averages(recipe), fused=True, capturable=on_gpu)


def _sgd(groups: Groups, recipe: Recipe, on_gpu: bool) -> Optimizer:
    nesterov = recipe.nesterov and recipe.momentum > 0  # torch refuses Nesterov without momentum
    return torch.optim.SGD(
        groups, momentum=recipe.momentum, nesterov=nesterov, weight_decay=recipe.weight_decay, fused=True
    )


def _rmsprop(groups: Groups, recipe: Recipe, on_gpu: bool) -> Optimizer:
    # torch has no fused RMSprop; on a CPU the plain loop was measured no slower than foreach.
    return torch.optim.RMSprop(
        groups,
        momentum=recipe.momentum,
        eps=1e-8 if recipe.eps is None else recipe.eps,
        weight_decay=recipe.weight_decay,
        foreach=on_gpu,
        capturable=on_gpu,
    )


def _nadam(groups: Groups, recipe: Recipe, on_gpu: bool) -> Optimizer:
    return torch.optim.NAdam(groups, **_averages(recipe), foreach=on_gpu)


def _radam(groups: Groups, recipe: Recipe, on_gpu: bool) -> Optimizer:
    return torch.optim.RAdam(groups, **_averages(recipe), foreach=on_gpu)


def _adafactor(groups: Groups, recipe: Recipe, on_gpu: bool) -> Optimizer:
    return torch.optim.Adafactor(groups, weight_decay=recipe.weight_decay, foreach=on_gpu)


def _lion(groups: Groups, recipe: Recipe, on_gpu: bool) -> Optimizer:
    return Lion(groups, betas=_betas(recipe, 0.99), weight_decay=recipe.weight_decay)


def _betas(recipe: Recipe, second: float = 0.999) -> tuple[float, float]:
    """The recipe's, or the usual ones."""
    return (
        0.9 if recipe.beta1 is None else recipe.beta1,
        second if recipe.beta2 is None else recipe.beta2,
    )


def _averages(recipe: Recipe) -> dict[str, Any]:
    """What all of Adam's family takes."""
    eps = 1e-8 if recipe.eps is None else recipe.eps
    return {"betas": _betas(recipe), "eps": eps, "weight_decay": recipe.weight_decay}


OPTIMIZERS: dict[str, Callable[[Groups, Recipe, bool], Optimizer]] = {
    "adam": _adam,
    "adamw": _adamw,
    "sgd": _sgd,
    "rmsprop": _rmsprop,
    "nadam": _nadam,
    "radam": _radam,
    "adafactor": _adafactor,
    "lion": _lion,
}

RECORDED = ("adam", "adamw", "sgd", "rmsprop")
"""Those whose step can be recorded as a CUDA graph: their learning rate is a tensor there."""


def build_optimizer(model: nn.Module, recipe: Recipe, device: torch.device, own: OwnPart | None = None) -> Optimizer:
    """The optimizer that `recipe` names, or the user's `own`, over the parameters of `model`, which are on `device`.

    On CUDA the learning rate is a tensor on the device, so that a captured graph sees it change.
    """
    spare_the_compiler()
    if own is not None:
        return _own_optimizer(own, model, recipe)
    on_gpu = device.type == "cuda"
    groups = _groups(model.parameters(), recipe)
    for group in groups:
        recorded = on_gpu and recipe.optimizer in RECORDED
        group["lr"] = torch.tensor(recipe.lr, device=device) if recorded else recipe.lr
    if recipe.optimizer == "muon":
        return MuonWithAdamW(model, groups, 0.95 if recipe.beta1 is None else recipe.beta1, recipe.weight_decay)
    return OPTIMIZERS[recipe.optimizer](groups, recipe, on_gpu)


def _own_optimizer(part: OwnPart, model: nn.Module, recipe: Recipe) -> Optimizer:
    """Groups that have a learning rate of their own keep their share of the scheduled one."""
    wants_model = next(iter(parameters_of(part.function)), "") == "model"
    part.check_takes("model" if wants_model else "parameters", "lr")
    groups = _groups(model.parameters(), recipe)
    made = part.function(model if wants_model else _plain(groups), recipe.lr, **part.parameters)
    if not isinstance(made, Optimizer):
        raise part.error(f"returned {type(made).__name__}, not a torch.optim.Optimizer", next="return the optimizer")
    if needs_closure(made):
        raise part.error(
            "needs a closure that computes the loss again, which a step of hpo's does not give",
            next="train it by a function of your own: train=, docs/own-training.md",
        )
    for group in made.param_groups:
        group[SHARE] = float(group["lr"]) / recipe.lr
    return made


def _plain(groups: Groups) -> Any:
    """The parameters alone where there is one group: what an optimizer of one's own may expect."""
    return groups[0]["params"] if len(groups) == 1 else groups


def parameters_of(function: Callable[..., Any]) -> list[str]:
    """The names of its parameters; none where they are not known."""
    try:
        return list(inspect.signature(function).parameters)
    except (TypeError, ValueError):
        return []


def needs_closure(optimizer: Optimizer) -> bool:
    """Whether `step` cannot be called without an argument, as that of LBFGS."""
    try:
        inspect.signature(optimizer.step).bind()
    except TypeError:
        return True
    except ValueError:
        return False
    return False


def set_lr(optimizer: Optimizer, lr: float) -> None:
    for group in optimizer.param_groups:
        if SHARE in group:
            group["lr"] = lr * group[SHARE]
        elif isinstance(group["lr"], Tensor):
            group["lr"].fill_(lr)
        else:
            group["lr"] = lr


def join_late(optimizer: Optimizer, parameters: Iterable[nn.Parameter]) -> None:
    """Begin the momentum of `parameters` that train from now on, while others have trained before.

    torch's fused SGD takes momentum for all parameters or for none. At zero, the first step is what it is without one.
    """
    if not isinstance(optimizer, torch.optim.SGD) or not any(optimizer.state.values()):
        return
    if not any(group["momentum"] for group in optimizer.param_groups):
        return
    for parameter in parameters:
        if optimizer.state[parameter].get("momentum_buffer") is None:
            optimizer.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter, requires_grad=False)


def optimizer_tensors(optimizer: Optimizer) -> dict[str, Tensor]:
    """Its state as named tensors, `<parameter number>.<name>`; its options can be made from the configuration again."""
    return {
        f"{number}.{name}": value
        for number, parameter in enumerate(_parameters(optimizer))
        for name, value in optimizer.state.get(parameter, {}).items()
        if isinstance(value, Tensor)
    }


def restore_optimizer(optimizer: Optimizer, tensors: dict[str, Tensor]) -> None:
    """Restore what `optimizer_tensors` returned, in the memory format of each parameter: fused kernels rely on it."""
    parameters = _parameters(optimizer)
    on_gpu = any(parameter.is_cuda for parameter in parameters)
    for key, value in tensors.items():
        number, _, name = key.partition(".")
        parameter = parameters[int(number)]
        held = optimizer.state[parameter].get(name)
        if held is not None:  # a chain keeps a reference to it
            held.copy_(value)
            continue
        if value.shape == parameter.shape and name != "step":
            restored = torch.empty_like(parameter, requires_grad=False).copy_(value)
        else:
            restored = value.to(parameter.device if on_gpu else "cpu", copy=True)
        optimizer.state[parameter][name] = restored


def _groups(parameters: Iterable[nn.Parameter], recipe: Recipe) -> Groups:
    everything = list(parameters)
    if recipe.decay_norm_and_bias or recipe.weight_decay == 0:
        return [{"params": everything}]
    groups: Groups = [
        {"params": [p for p in everything if p.ndim > 1]},
        {"params": [p for p in everything if p.ndim <= 1], "weight_decay": 0.0},
    ]
    return [group for group in groups if group["params"]]


def _parameters(optimizer: Optimizer) -> list[Tensor]:
    return [parameter for group in optimizer.param_groups for parameter in group["params"]]

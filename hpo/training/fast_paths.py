"""Faster ways to train than autograd and torch's operators: the only door to hpo.training.kernels.

With HPO_NATIVE=0, or without that folder, there are none; results are the same up to rounding.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from hpo.settings import Settings
from hpo.training.configuration import Recipe
from hpo.training.device import supports_bf16

if TYPE_CHECKING:
    from hpo.training.kernels.choice import Choice
    from hpo.training.kernels.own_choice import OwnChoice

__all__ = ["NONE", "UNMEASURED", "Fused", "fast_layers", "fused", "own_kernels", "resolved", "use_settings"]

NONE: Mapping[str, Any] = {}
UNMEASURED: Mapping[str, Any] = {"unmeasured": True}
"""The ways that trained before anything was measured: each as usual."""

_settings: Settings | None = None
_own: tuple[Settings, OwnChoice] | None = None
"""What was found under which settings."""


def use_settings(settings: Settings) -> None:
    """Take fast ways in this process as `settings` say; without this call, as the environment says.

    Call it before the first training.
    """
    global _settings, _own
    _settings, _own = settings, None
    try:
        from hpo.training.kernels import native
    except ImportError:
        return
    native.use_home(settings.home)


def own_kernels(device: torch.device) -> dict[str, Any]:
    """{"choice", "words", "measured", "file", "notes"}: what trains on `device` here, measured now where it never was.

    {} on a GPU, and where this installation has no kernels.
    """
    own = _own_choice() if device.type == "cpu" else None
    return {} if own is None else own.as_json()


def resolved(kernels: Mapping[str, Any], device: torch.device) -> dict[str, Any]:
    """What trains a job that names `kernels`: those; this machine's own where it names none. {} as for `own_kernels`.

    Where HPO_NATIVE=0 or there is no compiler, less is taken than they say.
    """
    if device.type == "cpu" and kernels and (choice := _choice(kernels)) is not None:
        return choice.as_json()
    return dict(own_kernels(device).get("choice", {}))


class Fused(Protocol):
    """A model that trains without autograd.

    updates: whether `learn` updates the weights; otherwise it leaves every gradient in `.grad`
    """

    updates: bool

    def learn(self, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """One step on images [N, C, H, W] and labels int64 [N]: (mean cross entropy [], hits int64 [])."""

    def logits(self, images: Tensor) -> Tensor:
        """The model in evaluation mode: images [N, C, H, W] -> [N, classes]."""


def fused(
    model: nn.Module,
    shape: tuple[int, int, int],
    optimizer: Optimizer,
    recipe: Recipe,
    device: torch.device,
    kernels: Mapping[str, Any] = NONE,
) -> Fused | None:
    """`model` on images [C, H, W] = `shape`, trained without autograd; None where it or the recipe needs autograd.

    kernels: a choice as a job has it; {}: this machine's own
    """
    if not recipe.plain:
        return None
    if recipe.freeze_epochs or recipe.mixes or (recipe.precision != "float32" and supports_bf16(device)):
        return None
    choice = _choice(kernels)
    if choice is None or not choice.native:
        return None
    from hpo.training.kernels.fused_sequential import fused_sequential

    updater = None if recipe.gradient_clip > 0 else optimizer
    return fused_sequential(model, shape, updater, recipe.label_smoothing, choice)


def fast_layers(
    model: nn.Module, device: torch.device, kernels: Mapping[str, Any] = NONE
) -> Callable[[], AbstractContextManager[object]]:
    """A context in which faster kernels compute layers of `model`, where `device` has any."""
    choice = _choice(kernels) if device.type == "cpu" else None
    if choice is None or not choice.native:
        return nullcontext
    from hpo.training.kernels import channels_last

    return channels_last.fast_layers(model, device, choice)


def _choice(kernels: Mapping[str, Any]) -> Choice | None:
    """None without kernels."""
    if not _now().native:
        return None
    try:
        from hpo.training.kernels.choice import Choice
    except ImportError:
        return None
    if kernels:
        return Choice.from_json(kernels)
    own = _own_choice()
    return None if own is None else own.choice


def _own_choice() -> OwnChoice | None:
    global _own
    settings = _now()
    if _own is None or _own[0] != settings:
        found = _found(settings)
        if found is None:
            return None
        _own = settings, found
    return _own[1]


def _found(settings: Settings) -> OwnChoice | None:
    try:
        from hpo.training.kernels.choice import DEFAULT, NOTHING
        from hpo.training.kernels.own_choice import OwnChoice, own_choice
    except ImportError:
        return None
    if not (settings.native and settings.measured):
        return OwnChoice(DEFAULT if settings.native else NOTHING)
    return own_choice(settings.home, bf16=supports_bf16(torch.device("cpu")))


def _now() -> Settings:
    return _settings or Settings.read()

"""Faster ways to train than autograd and torch's operators: the only door to hpo.training.kernels.

With HPO_NATIVE=0, or without that folder, there are none; results are the same up to rounding.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from hpo.settings import Settings
from hpo.training.configuration import Recipe
from hpo.training.device import supports_bf16

__all__ = ["Fused", "fast_layers", "fused", "use_settings"]

_settings: Settings | None = None


def use_settings(settings: Settings) -> None:
    """Take fast ways in this process as `settings` say; without this call, as the environment says.

    Their kernels are compiled and kept below `settings.home`. Call it before the first training.
    """
    global _settings
    _settings = settings
    try:
        from hpo.training.kernels import native
    except ImportError:
        return
    native.use_home(settings.home)


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
    model: nn.Module, shape: tuple[int, int, int], optimizer: Optimizer, recipe: Recipe, device: torch.device
) -> Fused | None:
    """`model` on images [C, H, W] = `shape`, trained without autograd; None where it or the recipe needs autograd."""
    if not recipe.plain:
        return None
    if recipe.freeze_epochs or recipe.mixes or (recipe.precision != "float32" and supports_bf16(device)):
        return None
    if not _allowed():
        return None
    try:
        from hpo.training.kernels.fused_sequential import fused_sequential
    except ImportError:
        return None
    updater = None if recipe.gradient_clip > 0 else optimizer
    return fused_sequential(model, shape, updater, recipe.label_smoothing)


def fast_layers(model: nn.Module, device: torch.device) -> Callable[[], AbstractContextManager[object]]:
    """A context in which faster kernels compute layers of `model`, where `device` has any."""
    if not _allowed():
        return nullcontext
    try:
        from hpo.training.kernels import channels_last
    except ImportError:
        return nullcontext
    return channels_last.fast_layers(model, device)


def _allowed() -> bool:
    return (_settings or Settings.read()).native

"""The training step: composed once from the recipe, so that what a trial does not use costs it nothing.

A step gives the device work and reads nothing back. Losses and hits are summed on the device and read once per epoch.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim import Optimizer

from hpo.training.average import WeightAverage
from hpo.training.configuration import Recipe
from hpo.training.device import supports_bf16

__all__ = ["Batch", "Mixup", "Step", "Sums", "precision"]

Batch = Callable[[Tensor], tuple[Tensor, Tensor]]
"""Indices int64 [N] to (float images [N, C, H, W], labels int64 [N])."""

Mixup = Callable[[Tensor, Tensor], tuple[Tensor, Tensor, Tensor]]
"""(images, labels) to (mixed images, labels of what was mixed in, share of the original as a tensor [])."""


class Sums:
    """Running sums of one epoch on the device: loss times images, and images classified rightly."""

    def __init__(self, device: torch.device) -> None:
        self.loss = torch.zeros((), dtype=torch.float64, device=device)
        self.hits = torch.zeros((), dtype=torch.int64, device=device)
        self.images = 0

    def add(self, loss: Tensor, logits: Tensor, labels: Tensor) -> None:
        """One batch: its mean loss [], logits [N, classes], labels [N]."""
        count = len(labels)
        self.loss.add_(loss.detach(), alpha=count)
        self.hits.add_((logits.detach().argmax(1) == labels).sum())
        self.images += count

    def reset(self) -> None:
        self.loss.zero_()
        self.hits.zero_()
        self.images = 0

    def read(self) -> tuple[float, float]:
        """(mean loss, accuracy): waits for the device."""
        if not self.images:
            return math.nan, math.nan
        return self.loss.item() / self.images, self.hits.item() / self.images


class Step:
    """`step(index)` trains on the images at `index` int64 [N]."""

    def __init__(
        self,
        model: nn.Module,
        batch: Batch,
        optimizer: Optimizer,
        recipe: Recipe,
        device: torch.device,
        *,
        mixup: Mixup | None = None,
        average: WeightAverage | None = None,
    ) -> None:
        self.sums = Sums(device)
        self.first_loss: Tensor | None = None
        self._batch = batch
        self._optimizer = optimizer
        self._model = model
        self._mixup = mixup
        self._smoothing = recipe.label_smoothing
        self._precision = precision(recipe, device)
        self._forward = self._mixed if mixup is not None else self._plain
        self._update = self._composed_update(model, recipe, average)

    def __call__(self, index: Tensor) -> None:
        images, labels = self._batch(index)
        loss, logits = self._forward(images, labels)
        if self.first_loss is None:
            self.first_loss = loss.detach().clone()
        loss.backward()
        self._update()
        # Dropping the gradients is cheaper than zeroing them: the next backward pass writes instead of adding.
        self._optimizer.zero_grad(set_to_none=True)
        self.sums.add(loss, logits, labels)

    def _plain(self, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        with self._precision():
            logits = self._model(images)
            return F.cross_entropy(logits, labels, label_smoothing=self._smoothing), logits

    def _mixed(self, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """As `_plain`, of mixed images; accuracy counts the original's label."""
        assert self._mixup is not None
        images, others, share = self._mixup(images, labels)
        with self._precision():
            logits = self._model(images)
            loss = share * F.cross_entropy(logits, labels, label_smoothing=self._smoothing)
            loss = loss + (1.0 - share) * F.cross_entropy(logits, others, label_smoothing=self._smoothing)
        return loss, logits

    def _composed_update(self, model: nn.Module, recipe: Recipe, average: WeightAverage | None) -> Callable[[], object]:
        parts: list[Callable[[], object]] = []
        if recipe.gradient_clip > 0:
            parameters = list(model.parameters())
            parts.append(lambda: nn.utils.clip_grad_norm_(parameters, recipe.gradient_clip))
        parts.append(self._optimizer.step)
        if average is not None:
            parts.append(average.update)
        if len(parts) == 1:
            return parts[0]

        def update() -> None:
            for part in parts:
                part()

        return update


def precision(recipe: Recipe, device: torch.device) -> Callable[[], AbstractContextManager[object]]:
    """The context that a forward pass runs in: bf16 autocast where asked for and in hardware, else nothing."""
    if recipe.precision == "bf16" and supports_bf16(device):
        return lambda: torch.autocast(device.type, dtype=torch.bfloat16)
    return nullcontext

"""The training step of one rank among several: a part of the batch, and the gradient of all of it."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from hpo.training.ranks import Ranks
from hpo.training.step import Step

__all__ = ["SharedStep"]


class SharedStep(Step):
    """`step(index)` trains on this rank's part of the images at `index` int64 [N], which all ranks are given.

    Gradients are those of the whole batch, so every rank takes the same step; batch normalisation's running statistics
    are their mean over the ranks. `running` adds up this rank's part, and counts the images of all.
    """

    def __init__(self, ranks: Ranks, model: nn.Module, *arguments: Any, **options: Any) -> None:
        super().__init__(model, *arguments, **options)
        self._ranks = ranks
        self._statistics = [buffer for buffer in model.buffers() if buffer.is_floating_point()]

    def eager(self, index: Tensor) -> None:
        part = self._ranks.part(index)
        if len(part):
            loss, hits = self._in_turns(part) if self._turns > 1 else self._learn(*self._batch(part))
            if self.first_loss is None:
                self.first_loss = loss.clone()
            self.running.add(loss, hits, len(part))
        self._add_up(len(part) / len(index))
        self._update()

    @torch.no_grad()
    def _add_up(self, share: float) -> None:
        """share: of the batch's images, those of this rank"""
        trained = [parameter for parameter in self._model.parameters() if parameter.requires_grad]
        for parameter in trained:
            if parameter.grad is None:  # no image, or none of them came by here
                parameter.grad = torch.zeros_like(parameter)
        gradients = [parameter.grad for parameter in trained if parameter.grad is not None]
        for gradient in gradients:
            gradient.mul_(share)
        for buffer in self._statistics:
            buffer.div_(self._ranks.size)
        self._ranks.add_up([*gradients, *self._statistics])

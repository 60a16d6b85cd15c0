"""An exponential moving average of a model's weights, used where the model is evaluated."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from hpo.torch_internals import foreach_copy, foreach_lerp

__all__ = ["WeightAverage"]


PART_OF_REACH = 0.01
"""An average reaches over 1 / (1 - decay) steps: this share of them may pass before it takes in the next one."""


class WeightAverage:
    """Average of every floating-point parameter and buffer of `model`; whole-number buffers stay the model's own.

    The decay starts small, min(decay, (1 + n) / (10 + n)) after n steps, so that short trials are not judged by
    their initial weights (as TensorFlow's ExponentialMovingAverage does with num_updates). An average over many steps
    does not need every one of them: with a decay d it takes in every (0.01 / (1 - d))th, with that power of d, so that
    the average costs a small network nothing.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        live = [*model.named_parameters(), *model.named_buffers()]
        self._live = {name: value for name, value in live if value.is_floating_point()}
        self._average = {name: value.detach().clone() for name, value in self._live.items()}
        self._sources = [value.detach() for value in self._live.values()]
        self._targets = list(self._average.values())
        self._decay = decay
        self.updates = 0  # steps so far

    @torch.no_grad()
    def update(self) -> None:
        """Take in the model's weights after a step, if this step's turn has come."""
        decay = min(self._decay, (1 + self.updates) / (10 + self.updates))
        every = max(1, int(PART_OF_REACH / (1.0 - decay) + 1e-6))
        if self.updates % every == 0:
            foreach_lerp(self._targets, self._sources, 1.0 - decay**every)
        self.updates += 1

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """The model computes with the average inside this block."""
        self._swap()
        try:
            yield
        finally:
            self._swap()

    @torch.no_grad()
    def adopt(self) -> None:
        """The average becomes the model's own weights."""
        foreach_copy(self._sources, self._targets)

    def tensors(self) -> dict[str, Tensor]:
        return dict(self._average)

    @torch.no_grad()
    def load(self, tensors: dict[str, Tensor], updates: int) -> None:
        for name, value in self._average.items():
            value.copy_(tensors[name])
        self.updates = updates

    def _swap(self) -> None:
        # Swap contents, not tensors: `_sources` and captured graphs keep pointing at the right memory.
        with torch.no_grad():
            for live, average in zip(self._sources, self._targets, strict=True):
                held = live.clone()
                live.copy_(average)
                average.copy_(held)

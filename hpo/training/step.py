"""The training step: composed once from the recipe, so that a trial pays only for what it uses.

A step queues work on the device and reads nothing back. Losses and hits are summed on the device and read once per
epoch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Generator, Tensor, nn
from torch.optim import Optimizer

from hpo.training.average import WeightAverage
from hpo.training.backlog import Backlog
from hpo.training.configuration import Recipe
from hpo.training.device import supports_bf16
from hpo.training.fast_paths import NONE, Fused, fast_layers
from hpo.training.graphs import WARM_UP, Replayed, Work
from hpo.training.losses import LossFunction, cross_entropy
from hpo.training.running_metrics import RunningMetrics, count_hits
from hpo.training.tasks import Count

__all__ = ["Batch", "Mixup", "Step", "precision", "turns"]

Batch = Callable[[Tensor], tuple[Any, Tensor]]
"""Indices int64 [N] to (float images [N, C, H, W], labels int64 [N]), or other inputs: a tensor or a dict of them."""

Mixup = Callable[[Tensor, Tensor], tuple[Tensor, Tensor, Tensor]]
"""(images, labels) to (mixed images, labels of the images mixed in, share of the original as a tensor [])."""


class Step:
    """`step(index)` trains on the images at `index` int64 [N].

    loss:   what it minimizes; None: the recipe's cross entropy.
    count:  how many of a batch are right.
    chain:  trains the model without autograd (hpo.training.fast_paths.fused).
    graphs: record the step as a CUDA graph (hpo.training.graphs), which draws from `generators`, beside torch's own.
    kernels: of layers, as hpo.training.fast_paths.fast_layers takes them
    `logits(images)` is the model's fastest forward pass in evaluation mode.
    """

    def __init__(
        self,
        model: nn.Module,
        batch: Batch,
        optimizer: Optimizer,
        recipe: Recipe,
        device: torch.device,
        *,
        loss: LossFunction | None = None,
        count: Count = count_hits,
        mixup: Mixup | None = None,
        average: WeightAverage | None = None,
        chain: Fused | None = None,
        graphs: bool = False,
        generators: Sequence[Generator] = (),
        kernels: Mapping[str, Any] = NONE,
    ) -> None:
        self.running = RunningMetrics(device)
        self.first_loss: Tensor | None = None
        self._batch = batch
        self._optimizer = optimizer
        self._model = model
        self._mixup = mixup
        self._count = count
        self._loss = loss or cross_entropy(recipe)
        self._turns, self._batch_size = recipe.accumulate, recipe.batch_size
        self._precision = precision(recipe, device)
        self._fast = fast_layers(model, device, kernels)
        self._forward = self._mixed if mixup is not None else self._plain
        self.chain = chain
        self.logits: Callable[[Tensor], Tensor] = model if chain is None else chain.logits
        self._learn = self._by_autograd if chain is None else chain.learn
        self._update = self._composed_update(recipe)
        self._average = average
        self._replayed = Replayed(self.eager, recipe.batch_images, generators) if graphs else None
        self._work: Work = self._replayed or self.eager
        self._backlog = Backlog() if device.type == "cuda" else None

    @property
    def first_steps(self) -> int:
        """How many full batches it takes until a step costs what all later ones do."""
        return 1 if self._replayed is None else WARM_UP + 1

    def changed(self) -> None:
        """Other parameters train from now on: a recording is made anew."""
        if self._replayed is not None:
            self._replayed.begin_anew()

    def __call__(self, index: Tensor) -> None:
        self._work(index)
        if self._backlog is not None:
            self._backlog.queued()
        if self._average is not None:  # not recorded: its weight changes from step to step, and most steps have none
            self._average.update()
        self.running.images += len(index)

    def eager(self, index: Tensor) -> None:
        """The part that can be recorded: kernels on tensors; from the second call on the host decides nothing."""
        if self._turns == 1:
            images, labels = self._batch(index)
            loss, hits = self._learn(images, labels)
        else:
            loss, hits = self._in_turns(index)
        self._update()
        if self.first_loss is None:
            self.first_loss = loss.clone()
        self.running.add(loss, hits, len(index))

    def _in_turns(self, index: Tensor) -> tuple[Tensor, Tensor]:
        """As `_by_autograd` for all of `index`, in parts whose gradients add up."""
        total = torch.zeros((), device=index.device)
        hits = torch.zeros((), dtype=torch.int64, device=index.device)
        for part in turns(index, self._batch_size):
            images, labels = self._batch(part)
            loss, logits = self._forward(images, labels)
            loss = loss * (len(part) / len(index))
            loss.backward()
            total += loss.detach()
            hits += self._count(logits, labels)
        return total, hits

    def _by_autograd(self, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """(mean loss [], hits []), and a gradient for every parameter: the specification of the faster ways."""
        loss, logits = self._forward(images, labels)
        loss.backward()
        return loss.detach(), self._count(logits, labels)

    def _plain(self, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        with self._precision(), self._fast():
            logits = self._model(images)
            return self._loss(logits, labels), logits

    def _mixed(self, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """As `_plain`, on mixed images; accuracy counts the original's label."""
        assert self._mixup is not None
        images, others, share = self._mixup(images, labels)
        with self._precision(), self._fast():
            logits = self._model(images)
            loss = share * self._loss(logits, labels) + (1.0 - share) * self._loss(logits, others)
        return loss, logits

    def _composed_update(self, recipe: Recipe) -> Callable[[], None]:
        parts: list[Callable[[], object]] = []
        if self.chain is None or not self.chain.updates:
            if recipe.gradient_clip > 0:
                parameters = list(self._model.parameters())
                parts.append(lambda: nn.utils.clip_grad_norm_(parameters, recipe.gradient_clip))
            # Dropping the gradients is cheaper than zeroing them: the next backward pass writes instead of adding.
            parts += [self._optimizer.step, self._optimizer.zero_grad]

        def update() -> None:
            for part in parts:
                part()

        return update


def turns(index: Tensor, batch_size: int) -> tuple[Tensor, ...]:
    """`index` int64 [N] in parts of at most `batch_size`, whose gradients add up to one step.

    Of about equal size, so that no part has a single image, which batch normalisation refuses.
    """
    parts: tuple[Tensor, ...] = index.tensor_split(-(-len(index) // batch_size))
    return parts


def precision(recipe: Recipe, device: torch.device) -> Callable[[], AbstractContextManager[object]]:
    """The context of a forward pass: bf16 autocast where the recipe asks for it and the hardware has it."""
    if recipe.precision == "bf16" and supports_bf16(device):
        return lambda: torch.autocast(device.type, dtype=torch.bfloat16)
    return nullcontext

"""Training as torch's documentation has it: in float64 the exact result, in float32 the measure of rounding."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from numerics import CLEAR, SharedDropout, assert_as_exact, clearance, twin
from torch import Generator, Tensor, nn
from torch.optim import Optimizer

from hpo.data.image_set import ImageSet
from hpo.training.average import WeightAverage
from hpo.training.configuration import Recipe
from hpo.training.optimizers import build_optimizer, optimizer_tensors, set_lr
from hpo.training.step import Step

MakeStep = Callable[[nn.Sequential, Optimizer, WeightAverage | None], Step]

SMOOTH_EPS = 1e-2
_PLAIN = {"fused": False, "foreach": False, "capturable": False}


def smooth(optimizer: Optimizer) -> Optimizer:
    """`optimizer` with an eps as large as gradients, where it has one.

    The first step of Adam and RMSprop is lr * g / (|g| + eps). With the eps they come with, 1e-8, that is the sign of
    g, and a gradient so near zero that rounding turns it makes a whole step in the other direction: a difference that
    no other element of a tensor averages out. With this one a step changes by no more than lr / eps times what g does.
    """
    for group in optimizer.param_groups:
        if "eps" in group:
            group["eps"] = SMOOTH_EPS
    return optimizer


def seed_masks(step: int) -> None:
    """What dropout draws in a step is the same, whoever takes it."""
    torch.manual_seed(1_000 + step)


class Plain:
    """A copy of `model` in `dtype`, trained by torch's plain loops with the options that `optimizer` has.

    order: 0 takes the images of a batch as they come, another number in an order of its own. A mean knows no order, so
    that each is as right in float32 as the first.
    """

    def __init__(
        self, model: nn.Sequential, optimizer: Optimizer, recipe: Recipe, dtype: torch.dtype, order: int = 0
    ) -> None:
        self.model = twin(model, dtype)
        moved = dict(zip(model.parameters(), self.model.parameters(), strict=True))
        groups = [
            {**group, "params": [moved[one] for one in group["params"]], "lr": float(group["lr"]), **_PLAIN}
            for group in optimizer.param_groups
        ]
        self._optimizer = type(optimizer)(groups)
        self._recipe, self._dtype, self._order = recipe, dtype, order
        self._average = {name: value.detach().clone() for name, value in self.model.named_parameters()}
        self._losses: list[Tensor] = []
        device = next(model.parameters()).device
        self._loss = torch.zeros((), dtype=torch.float64, device=device)
        self._hits = torch.zeros((), dtype=torch.int64, device=device)

    def step(self, images: Tensor, labels: Tensor, lr: float) -> None:
        """One step at the rate `lr` on images float32 [N, C, H, W] and labels int64 [N]."""
        set_lr(self._optimizer, lr)
        images, labels = self._ordered(images, labels)
        seed_masks(len(self._losses))
        logits = self.model(images.to(self._dtype))
        loss = F.cross_entropy(logits, labels, label_smoothing=self._recipe.label_smoothing)
        self._optimizer.zero_grad()
        loss.backward()
        if self._recipe.gradient_clip:
            nn.utils.clip_grad_norm_(self.model.parameters(), self._recipe.gradient_clip, foreach=False)
        self._optimizer.step()
        steps = len(self._losses)
        decay = min(self._recipe.ema_decay, (1 + steps) / (10 + steps))
        for name, value in self.model.named_parameters():
            self._average[name].mul_(decay).add_(value.detach(), alpha=1.0 - decay)
        self._losses.append(loss.detach())
        self._loss += loss.detach().double() * len(labels)
        self._hits += (logits.argmax(1) == labels).sum()

    def tensors(self) -> dict[str, Tensor]:
        """Weights, optimizer state, average of weights if there is one, and what an epoch adds up, by name."""
        averaged = self._average if self._recipe.ema_decay else {}
        return {
            **self.model.state_dict(),
            **optimizer_tensors(self._optimizer),
            **{f"average.{name}": value for name, value in averaged.items()},
            "first loss": self._losses[0],
            "sum of losses": self._loss,
            "hits": self._hits,
        }

    def _ordered(self, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        if not self._order:
            return images, labels
        random = Generator().manual_seed(1_000 * self._order + len(self._losses))
        order = torch.randperm(len(labels), generator=random)
        for module in self.model.modules():
            if isinstance(module, SharedDropout):
                module.order = order
        return images[order], labels[order]


@dataclass(frozen=True)
class Batch:
    """What a step is on: `index` int64 [N] of images and labels, at the rate `lr`."""

    index: Tensor
    lr: float


def exact_training(
    model: nn.Sequential, optimizer: Optimizer, recipe: Recipe, data: ImageSet, batches: Sequence[tuple[int, float]]
) -> tuple[Plain, list[Batch]]:
    """(training in float64, what its steps were on), for batches of (images, learning rate) each.

    Of the images drawn for a step those are taken that are clear of every branch of the network as it then is.
    """
    exact, taken = Plain(model, optimizer, recipe, torch.float64), []
    random = Generator().manual_seed(1)
    for number, (size, lr) in enumerate(batches):
        for _ in range(1_000):  # about every second draw for the largest network here will do
            index = torch.randint(0, len(data), (size,), generator=random).to(data.device)
            images, labels = data.batch(index)
            seed_masks(number)
            if clearance(exact.model, images.double()) > CLEAR:
                break
        else:
            raise AssertionError("no images are clear of every branch")
        exact.step(images, labels, lr)
        taken.append(Batch(index, lr))
    return exact, taken


def plain_trainings(
    model: nn.Sequential, optimizer: Optimizer, recipe: Recipe, data: ImageSet, batches: Sequence[Batch]
) -> list[Plain]:
    """Trainings in float32 on these batches, the images of each in three orders."""
    trainings = [Plain(model, optimizer, recipe, torch.float32, order) for order in range(3)]
    for training in trainings:
        for batch in batches:
            training.step(*data.batch(batch.index), batch.lr)
    return trainings


def assert_trained_as_plainly(
    model: nn.Sequential, recipe: Recipe, data: ImageSet, make: MakeStep, batches: Sequence[tuple[int, float]]
) -> Step:
    """The step that `make` gives trains `model` as exactly as plain torch does, on batches of (images, learning rate).

    Compared are weights, optimizer state, average of weights, first loss, sum of losses and hits.
    """
    optimizer = smooth(build_optimizer(model, recipe, data.device))
    exact, taken = exact_training(model, optimizer, recipe, data, batches)
    torchs = plain_trainings(model, optimizer, recipe, data, taken)
    average = WeightAverage(model, recipe.ema_decay) if recipe.ema_decay else None
    step = make(model, optimizer, average)
    for number, batch in enumerate(taken):
        seed_masks(number)
        set_lr(optimizer, batch.lr)
        step(batch.index)
    assert step.first_loss is not None
    ours = {
        **model.state_dict(),
        **optimizer_tensors(optimizer),
        **({} if average is None else {f"average.{name}": value for name, value in average.tensors().items()}),
        "first loss": step.first_loss,
        "sum of losses": step.running.loss,
        "hits": step.running.hits,
    }
    assert_as_exact(ours, [training.tensors() for training in torchs], exact.tensors())
    return step

"""Parts of training as a user writes them: losses, metrics, optimizers and schedules, good ones and broken ones."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def softened(outputs: Tensor, targets: Tensor, gamma: float = 0.0) -> Tensor:
    """The focal loss; the cross entropy where gamma is 0."""
    each = F.cross_entropy(outputs, targets, reduction="none")
    return ((1.0 - torch.exp(-each)) ** gamma * each).mean()


class Margin(nn.Module):
    """A loss as a class: of every logit that comes within `margin` of the right one."""

    def __init__(self, margin: float) -> None:
        super().__init__()
        self.margin = margin

    def forward(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return F.multi_margin_loss(outputs, targets, margin=self.margin)


def error_rate(outputs: Tensor, targets: Tensor) -> float:
    return float((outputs.argmax(1) != targets).float().mean())


class Counted:
    """The accuracy, batch by batch."""

    def __init__(self, weight: float = 1.0) -> None:
        self.weight, self.right, self.all = weight, 0, 0

    def update(self, outputs: Tensor, targets: Tensor) -> None:
        self.right += int((outputs.argmax(1) == targets).sum())
        self.all += len(targets)

    def compute(self) -> float:
        return self.weight * self.right / self.all


def sign_descent(parameters: Any, lr: float, momentum: float = 0.9) -> torch.optim.Optimizer:
    return SignDescent(parameters, lr, momentum)


class SignDescent(torch.optim.Optimizer):
    """Its state is a tensor and a count that is none, as optimizers of one's own have it."""

    def __init__(self, parameters: Any, lr: float, momentum: float) -> None:
        super().__init__(parameters, {"lr": lr, "momentum": momentum})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            group["steps"] = group.get("steps", 0) + 1
            for parameter in group["params"]:
                if parameter.grad is None:
                    continue
                state = self.state[parameter]
                mean = state.setdefault("mean", torch.zeros_like(parameter))
                state["count"] = state.get("count", 0) + 1
                mean.lerp_(parameter.grad, 1.0 - group["momentum"])
                parameter.sub_(mean.sign() * group["lr"] / (1.0 + 0.01 * state["count"] + 0.01 * group["steps"]))


def by_layer(model: nn.Module, lr: float, share: float) -> torch.optim.Optimizer:
    """The head learns at the full rate, everything below at a share of it."""
    *below, weight, bias = model.parameters()
    return torch.optim.SGD([{"params": below, "lr": share * lr}, {"params": [weight, bias], "lr": lr}], lr=lr)


def triangle(step: int, steps: int, steps_per_epoch: int, peak: float = 0.5) -> float:
    done = step / steps
    return done / peak if done < peak else (1.0 - done) / (1.0 - peak)


def negative(step: int, steps: int, steps_per_epoch: int) -> float:
    return -1.0


def words(outputs: Tensor, targets: Tensor) -> Any:
    return "good"


def not_a_number(outputs: Tensor, targets: Tensor) -> float:
    return float("nan")


def number_of_many(outputs: Tensor, targets: Tensor) -> float:
    """As a metric that needs rare samples: it has a number for 60 and more."""
    return 1.0 if len(targets) >= 60 else float("nan")


def each_image(outputs: Tensor, targets: Tensor) -> Tensor:
    return F.cross_entropy(outputs, targets, reduction="none")


def detached(outputs: Tensor, targets: Tensor) -> Tensor:
    return F.cross_entropy(outputs, targets).detach()


def raises(outputs: Tensor, targets: Tensor) -> Tensor:
    raise ValueError("no such class")


def no_optimizer(parameters: Any, lr: float) -> Any:
    return lr


def with_closure(parameters: Any, lr: float) -> torch.optim.Optimizer:
    return torch.optim.LBFGS(parameters, lr=lr)


class NoUpdate:
    """No metric: it lacks what a batch is given to."""

    def compute(self) -> float:
        return 0.0

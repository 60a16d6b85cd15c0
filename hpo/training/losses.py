"""What training minimizes, and the loss that validation reports: functions of a batch's outputs and targets."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hpo.data.targets import IGNORED
from hpo.messages import Job
from hpo.training.configuration import Recipe
from hpo.training.own_parts import OwnPart, own_part
from hpo.training.segmentation import pixel_loss
from hpo.training.tasks import PLAIN_LOSSES, task_of

__all__ = ["LossFunction", "Losses", "balanced_weights", "cross_entropy", "focal", "losses"]

LossFunction = Callable[[Tensor, Tensor], Tensor]
"""Outputs [N, ...] and targets [N, ...] to the mean loss []."""


@dataclass(frozen=True)
class Losses:
    """The loss of a training step, and that of an epoch's validation, which leaves out what only regularizes.

    knows_guess: whether a model that only guesses has a loss of ln(classes)
    """

    train: LossFunction
    validation: LossFunction
    knows_guess: bool


def losses(job: Job, recipe: Recipe, device: torch.device, labels: Tensor | None = None) -> Losses:
    """The losses of the job's recipe. StudyError for a loss of the user's own that cannot be made.

    labels: int64 [N], or masks [N, H, W], of what is trained on, by which "balanced" weighs the classes; None: nothing
    """
    own = own_part(job, "loss")
    if own is not None:
        function = _own_loss(own, device)
        return Losses(function, function, knows_guess=False)
    if recipe.loss in PLAIN_LOSSES:
        return Losses(PLAIN_LOSSES[recipe.loss], PLAIN_LOSSES[recipe.loss], knows_guess=False)
    weights = None
    if recipe.class_weights == "balanced" and labels is not None:  # of streamed masks none are known: refused before
        counted = labels.flatten() if labels.ndim == 1 else labels[labels != IGNORED]
        weights = balanced_weights(counted, len(job.dataset["classes"])).to(device)
    if task_of(job) == "segmentation":
        smoothing = recipe.label_smoothing
        return Losses(partial(pixel_loss, weight=weights, label_smoothing=smoothing), pixel_loss, knows_guess=True)
    if recipe.loss == "focal":
        train, validation = (partial(focal, gamma=recipe.focal_gamma, weight=weight) for weight in (weights, None))
        return Losses(train, validation, knows_guess=False)
    return Losses(cross_entropy(recipe, weights), F.cross_entropy, knows_guess=True)


def cross_entropy(recipe: Recipe, weights: Tensor | None = None) -> LossFunction:
    """With the recipe's label smoothing, and `weights` [classes] of the classes."""
    if weights is None:
        return partial(F.cross_entropy, label_smoothing=recipe.label_smoothing)
    return partial(F.cross_entropy, label_smoothing=recipe.label_smoothing, weight=weights)


def focal(logits: Tensor, labels: Tensor, gamma: float, weight: Tensor | None = None) -> Tensor:
    """The mean of (1 - p)^gamma times the cross entropy, p the share of the right class (Lin et al. 2017), over labels.

    weight: [classes]; the mean is then weighted as that of torch's cross entropy.
    """
    each = F.cross_entropy(logits, labels, reduction="none")
    each = (1.0 - torch.exp(-each)).clamp_min(0.0) ** gamma * each
    if weight is None:
        return each.mean()
    shares = weight[labels]
    return (shares * each).sum() / shares.sum()


def balanced_weights(labels: Tensor, classes: int) -> Tensor:
    """[classes]: all images over classes times the images of each, as scikit-learn's "balanced"; 0 for one without."""
    counts = torch.bincount(labels, minlength=classes).float()
    return torch.where(counts > 0, len(labels) / (classes * counts.clamp_min(1.0)), 0.0)


def _own_loss(part: OwnPart, device: torch.device) -> LossFunction:
    function: Callable[..., Any]
    if not part.is_class:
        part.check_takes("outputs", "targets")
        function = partial(part.function, **part.parameters)
    else:
        part.check_takes()
        function = part.function(**part.parameters)
        if isinstance(function, nn.Module):
            function = function.to(device)
            if any(True for _ in function.parameters()):
                raise part.error(
                    "has parameters that train, which no optimizer of hpo's updates",
                    next="put them into the model, whose outputs the loss gets",
                )
    return partial(_checked, part, function)


def _checked(part: OwnPart, function: Callable[..., Any], outputs: Tensor, targets: Tensor) -> Tensor:
    loss = function(outputs, targets)
    if not isinstance(loss, Tensor) or loss.ndim:
        got = f"a tensor of shape {list(loss.shape)}" if isinstance(loss, Tensor) else type(loss).__name__
        raise part.error(f"returned {got}, not a tensor of one number", next="return the mean over the batch")
    return loss

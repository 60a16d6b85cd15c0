"""Metrics of a whole split that come with hpo, as functions of outputs and targets like those of a user's own."""

from __future__ import annotations

import torch
from torch import Tensor

from hpo.errors import StudyError

__all__ = ["NoValue", "auroc", "balanced_accuracy", "label_auroc", "label_f1", "macro_f1", "mae", "r2", "rmse", "top5"]


class NoValue(StudyError):
    """These targets give a metric no value, whatever the outputs; more of them might."""


def macro_f1(outputs: Tensor, targets: Tensor) -> float:
    """The mean of the classes' F1, for logits [N, classes] and labels int64 [N]; 0 for a class without any image."""
    table = _confusion(outputs, targets)
    right, labelled, predicted = table.diagonal(), table.sum(1), table.sum(0)
    return float((2 * right / (labelled + predicted).clamp_min(1)).mean())


def balanced_accuracy(outputs: Tensor, targets: Tensor) -> float:
    """The mean of the accuracies of the classes that there are targets of, for logits [N, classes], labels [N]."""
    table = _confusion(outputs, targets)
    labelled = table.sum(1)
    return float((table.diagonal() / labelled.clamp_min(1))[labelled > 0].mean())


def auroc(outputs: Tensor, targets: Tensor) -> float:
    """The mean area under the ROC curve of each class against the rest, for logits [N, classes], labels [N].

    Classes without targets are left out. StudyError where there is one class only.
    """
    shares = torch.softmax(outputs.double(), 1)
    classes = targets.unique()
    if len(classes) < 2:
        raise NoValue(
            f"val_auroc has no value: all {len(targets)} labels are of one class",
            next="take another metric, or a validation part that has every class",
        )
    return float(torch.stack([_area(shares[:, label], targets == label) for label in classes]).mean())


def top5(outputs: Tensor, targets: Tensor) -> float:
    """The share of images whose label is among the five largest logits [N, classes]; labels [N]."""
    if outputs.shape[1] <= 5:
        raise StudyError(f"val_top5 is always 1 with {outputs.shape[1]} classes", next="take val_accuracy")
    return float((outputs.topk(5, dim=1).indices == targets[:, None]).any(1).double().mean())


def _confusion(outputs: Tensor, targets: Tensor) -> Tensor:
    """float64 [classes, classes]: rows are labels, columns predictions."""
    classes = outputs.shape[1]
    counts = torch.bincount(targets * classes + outputs.argmax(1), minlength=classes * classes)
    return counts.reshape(classes, classes).double()


def _area(scores: Tensor, positive: Tensor) -> Tensor:
    """Mann and Whitney's: the share of pairs in which the positive one has the higher score; a tie counts half."""
    _, places, counts = scores.unique(return_inverse=True, return_counts=True)
    ranks = (counts.cumsum(0) - (counts - 1) / 2)[places].double()
    many = positive.sum()
    area: Tensor = (ranks[positive].sum() - many * (many + 1) / 2) / (many * (~positive).sum())
    return area


def label_f1(outputs: Tensor, targets: Tensor) -> float:
    """The mean of the labels' F1, for logits [N, labels], above 0 where a label is said, and targets of 0 and 1."""
    said, true = outputs > 0, targets > 0.5
    both = (said & true).sum(0).double()
    return float((2 * both / (said.sum(0) + true.sum(0)).clamp_min(1)).mean())


def label_auroc(outputs: Tensor, targets: Tensor) -> float:
    """The mean area under the ROC curve of the labels, for logits [N, labels] and targets of 0 and 1.

    A label that all items have, or none, is left out. StudyError where every label is so.
    """
    true = targets > 0.5
    mixed = [label for label in range(true.shape[1]) if bool(true[:, label].any()) and not bool(true[:, label].all())]
    if not mixed:
        raise NoValue("val_auroc has no value: each label is on all items, or on none", next="take another metric")
    scores = outputs.double()
    return float(torch.stack([_area(scores[:, label], true[:, label]) for label in mixed]).mean())


def mae(outputs: Tensor, targets: Tensor) -> float:
    """The mean absolute error, for outputs and targets [N, values]."""
    return float((outputs.double() - targets.double()).abs().mean())


def rmse(outputs: Tensor, targets: Tensor) -> float:
    """The root of the mean squared error, for outputs and targets [N, values]."""
    return float((outputs.double() - targets.double()).square().mean().sqrt())


def r2(outputs: Tensor, targets: Tensor) -> float:
    """The mean over the values of the share of their variance that is explained, for outputs and targets [N, values].

    StudyError where a value never changes.
    """
    outputs, targets = outputs.double(), targets.double()
    spread = (targets - targets.mean(0)).square().sum(0)
    if not bool((spread > 0).all()):
        raise NoValue("val_r2 has no value: a target is the same everywhere", next="take val_rmse")
    return float((1.0 - (outputs - targets).square().sum(0) / spread).mean())

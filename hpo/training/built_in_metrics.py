"""Metrics of a whole split that come with hpo, as functions of outputs and targets like those of a user's own."""

from __future__ import annotations

import torch
from torch import Tensor

from hpo.errors import StudyError

__all__ = ["auroc", "balanced_accuracy", "macro_f1", "top5"]


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
        raise StudyError(
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

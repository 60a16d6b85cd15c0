"""A class for each pixel: the loss, the counts that scores are made of, and the metrics."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from hpo.data.targets import IGNORED

__all__ = ["MeanIoU", "PixelAccuracy", "class_ious", "mean_iou", "pixel_accuracy", "pixel_counts", "pixel_loss"]


def pixel_loss(logits: Tensor, masks: Tensor, weight: Tensor | None = None, label_smoothing: float = 0.0) -> Tensor:
    """The mean cross entropy of all pixels that count, for logits [N, classes, H, W] and masks int64 [N, H, W].

    weight: [classes]. Where no pixel counts it is 0, with a gradient of 0.
    """
    # As rows of pixels: the two-dimensional loss of torch has no deterministic version on a GPU.
    rows = logits.permute(0, 2, 3, 1).reshape(-1, logits.shape[1])
    labels = masks.reshape(-1)
    options = {"weight": weight, "label_smoothing": label_smoothing, "ignore_index": IGNORED}
    counted = labels != IGNORED
    share = counted.sum() if weight is None else weight[labels.where(counted, 0)].where(counted, 0.0).sum()
    total: Tensor = F.cross_entropy(rows, labels, reduction="sum", **options)  # type: ignore[arg-type]
    return total / share.clamp_min(torch.finfo(torch.float32).tiny)


def pixel_counts(logits: Tensor, masks: Tensor) -> Tensor:
    """int64 [N, classes, classes]: how many pixels of each image have that label (down) and that prediction (across).

    For logits [N, classes, H, W] and masks int64 [N, H, W]. Pixels that are IGNORED are in none of them.
    """
    count, classes = logits.shape[:2]
    cells = classes * classes + 1  # the last is for pixels that do not count
    image = torch.arange(count, device=masks.device).view(-1, 1, 1)
    cell = torch.where(masks == IGNORED, cells - 1, masks * classes + logits.argmax(1))
    found = torch.bincount((image * cells + cell).flatten(), minlength=count * cells)
    return found.view(count, cells)[:, :-1].reshape(count, classes, classes)


def class_ious(counts: Tensor) -> Tensor:
    """float64 [..., classes] of counts [..., classes, classes]: the pixels that label and prediction share, over those
    that either has. NaN for a class that neither has anywhere."""
    counts = counts.to(torch.float64)
    shared = counts.diagonal(dim1=-2, dim2=-1)
    return shared / (counts.sum(-1) + counts.sum(-2) - shared)  # 0/0 is NaN


def mean_iou(counts: Tensor) -> Tensor:
    """float64 [...]: the mean over the classes that label or prediction has somewhere."""
    return class_ious(counts).nanmean(-1)


def pixel_accuracy(counts: Tensor) -> Tensor:
    """float64 [...]: the share of the pixels that count whose class is right."""
    counts = counts.to(torch.float64)
    return counts.diagonal(dim1=-2, dim2=-1).sum(-1) / counts.sum((-2, -1))


class _OfCounts:
    """A metric of the pixels of all batches together."""

    def __init__(self) -> None:
        self.counts: Tensor | None = None

    def update(self, outputs: Tensor, targets: Tensor) -> None:
        """Take in logits [N, classes, H, W] and masks int64 [N, H, W]."""
        found = pixel_counts(outputs, targets).sum(0)
        self.counts = found if self.counts is None else self.counts + found


class MeanIoU(_OfCounts):
    """val_iou: `mean_iou` over all pixels together."""

    def compute(self) -> float:
        return math.nan if self.counts is None else float(mean_iou(self.counts))


class PixelAccuracy(_OfCounts):
    """val_pixel_accuracy: `pixel_accuracy` over all pixels together."""

    def compute(self) -> float:
        return math.nan if self.counts is None else float(pixel_accuracy(self.counts))

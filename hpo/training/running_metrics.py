"""The sums of an epoch: losses, and images classified correctly."""

from __future__ import annotations

import math

import torch
from torch import Tensor

__all__ = ["RunningMetrics", "count_hits"]


def count_hits(logits: Tensor, labels: Tensor) -> Tensor:
    """How many of the images with logits [N, classes] and labels int64 [N] are classified correctly: int64 []."""
    return (logits.argmax(1) == labels).sum()


class RunningMetrics:
    """Running sums of one epoch on the device: loss times images, and images classified correctly."""

    def __init__(self, device: torch.device) -> None:
        self.loss = torch.zeros((), dtype=torch.float64, device=device)
        self.hits = torch.zeros((), dtype=torch.int64, device=device)
        self.images = 0

    def add(self, loss: Tensor, hits: Tensor, count: int) -> None:
        """Add a batch: its mean loss [] and hits int64 [], without autograd. The caller adds its size to `images`."""
        self.loss.add_(loss, alpha=count)
        self.hits.add_(hits)

    def reset(self) -> None:
        self.loss.zero_()
        self.hits.zero_()
        self.images = 0

    def read(self) -> tuple[float, float]:
        """(mean loss, accuracy). Waits for the device."""
        if not self.images:
            return math.nan, math.nan
        return self.loss.item() / self.images, self.hits.item() / self.images

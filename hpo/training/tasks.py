"""What outputs and targets mean: the losses of each task, and what of a batch counts as right."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from hpo.messages import Job
from hpo.training.running_metrics import count_hits

__all__ = ["PLAIN_LOSSES", "Count", "count_for", "no_hits", "output_shape", "random_outputs", "task_of"]

Count = Callable[[Tensor, Tensor], Tensor]
"""Outputs [N, ...] and targets [N, ...] to how many of them are right: int64 []."""

PLAIN_LOSSES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "binary_cross_entropy": F.binary_cross_entropy_with_logits,
    "mse": F.mse_loss,
    "mae": F.l1_loss,
    "huber": F.huber_loss,
}
"""Means over outputs and targets [N, columns], of the tasks that have no classes."""


def task_of(job: Job) -> str:
    return str(job.parts.get("task", "classification"))


def output_shape(job: Job) -> list[int]:
    """The shape of what a network gives for one sample: [classes], or [classes, H, W] for segmentation.

    For a task of the user's own it is what the Task says. Its first size is the `classes` that a network is built with.
    """
    if "outputs" in job.parts:
        return [int(size) for size in job.parts["outputs"]]
    classes = len(job.dataset["classes"])
    return [classes, *job.dataset["shape"][1:]] if task_of(job) == "segmentation" else [classes]


def random_outputs(job: Job, targets: Tensor) -> Tensor:
    """Random outputs of a network, with a gradient, for targets [N, ...]."""
    return torch.randn(len(targets), *output_shape(job), device=targets.device, requires_grad=True)


def count_for(task: str) -> Count | None:
    """What train_accuracy and val_accuracy count; None where nothing is simply right or wrong."""
    return {"classification": count_hits, "multilabel": _all_labels}.get(task)


def _all_labels(logits: Tensor, targets: Tensor) -> Tensor:
    """Those with every label right: logits above 0 where targets [N, labels] are 1."""
    return ((logits > 0) == (targets > 0.5)).all(1).sum()


def no_hits(outputs: Tensor, targets: Tensor) -> Tensor:
    """For a task without accuracy."""
    return torch.zeros((), dtype=torch.int64, device=outputs.device)

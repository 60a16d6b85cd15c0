"""What the targets of a data set have to be for a task, and what their parts are drawn evenly by."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["strata", "targets_for", "wrong_targets"]


def wrong_targets(targets: Tensor, task: str, classes: int, count: int, called: str = "targets") -> list[str]:
    """What is wrong with the `count` targets of a split, in words.

    classification: int64 [N] in 0..classes-1. multilabel: [N, classes] of 0 and 1, bool or any numbers.
    regression: floats [N, classes], finite in float32, or [N] where there is one value to predict.
    called: what a loader calls the classes
    """
    if task == "classification":
        return _wrong_classes(targets, classes, count, called)
    shape = [count, classes]
    fits = list(targets.shape) == shape or (task == "regression" and classes == 1 and targets.shape == (count,))
    if not fits or targets.is_complex() or (task == "regression" and not targets.is_floating_point()):
        wanted = "numbers 0 and 1" if task == "multilabel" else "floating point"
        return [f"targets are {targets.dtype} {list(targets.shape)}, expected {wanted} {shape} for {task}"]
    if not count:
        return ["there are no images"]
    if task == "multilabel":
        odd = targets[(targets != 0) & (targets != 1)]
        return [f"targets have {odd[0].item()}, expected 0 and 1"] if odd.numel() else []
    broken = (~torch.isfinite(targets.reshape(count, -1).to(torch.float32))).any(1).nonzero()
    more = f", and {len(broken) - 1:,} more" if len(broken) > 1 else ""
    return [f"target {int(broken[0])} is not finite in float32{more}"] if len(broken) else []


def _wrong_classes(targets: Tensor, classes: int, count: int, called: str) -> list[str]:
    if targets.dtype != torch.int64 or targets.shape != (count,):
        return [f"{called} are {targets.dtype} {list(targets.shape)}, expected torch.int64 {[count]}"]
    if not count:
        return ["there are no images"]
    if int(targets.min()) < 0 or int(targets.max()) >= classes:
        return [f"{called} run from {int(targets.min())} to {int(targets.max())}, expected 0..{classes - 1}"]
    return []


def targets_for(targets: Tensor, task: str, classes: int) -> Tensor:
    """As training takes them: int64 [N] for classification, float32 [N, classes] for any other task."""
    return targets if task == "classification" else targets.reshape(len(targets), classes).to(torch.float32)


def strata(targets: Tensor, task: str) -> Tensor:
    """int64 [N]: the classes that splits and folds give each part its share of; without classes, all one."""
    return targets if task == "classification" else torch.zeros(len(targets), dtype=torch.int64, device=targets.device)

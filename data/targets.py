"""What the targets of a data set have to be for a task, and what their parts are drawn evenly by."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

__all__ = ["IGNORED", "as_trained", "constant_targets", "strata", "targets_for", "wrong_targets"]

_OF_HPO = ("classification", "multilabel", "regression", "segmentation")
"""The tasks that come with hpo; any other is of the user's own, whose targets are as its data set declares them."""

IGNORED = 255
"""The number of a pixel in a mask that no loss and no score counts, as in Pascal VOC."""


def wrong_targets(
    targets: Tensor,
    task: str,
    classes: int,
    count: int,
    called: str = "targets",
    size: Sequence[int] = (),
    declared: Mapping[str, Any] | None = None,
) -> list[str]:
    """What is wrong with the `count` targets of a split, in words.

    classification: int64 [N] in 0..classes-1. multilabel: [N, classes] of 0 and 1, bool or any numbers.
    regression: floats [N, classes], finite in float32, or [N] where there is one value to predict.
    segmentation: uint8 or int64 [N, H, W] in 0..classes-1, or IGNORED; size: (H, W) of the images
    called: what a loader calls the classes
    declared: {"shape", "dtype", "below"} of one sample's targets, which a task of the user's own goes by alone
    """
    if task not in _OF_HPO:
        return _wrong_declared(targets, declared or {}, count)
    if task == "classification":
        return _wrong_classes(targets, classes, count, called)
    if task == "segmentation":
        return _wrong_masks(targets, classes, [count, *size])
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
    return [f"target {int(broken[0])} is not finite in float32{_more(broken)}"] if len(broken) else []


def _wrong_declared(targets: Tensor, declared: Mapping[str, Any], count: int) -> list[str]:
    shape, dtype = [count, *declared["shape"]], getattr(torch, declared["dtype"])
    if targets.dtype != dtype or list(targets.shape) != shape:
        return [f"targets are {targets.dtype} {list(targets.shape)}, expected {dtype} {shape}"]
    if not count:
        return ["there are no samples"]
    if dtype.is_floating_point:
        broken = (~torch.isfinite(targets.reshape(count, -1))).any(1).nonzero()
        return [f"target {int(broken[0])} is NaN or infinite{_more(broken)}"] if len(broken) else []
    below = declared.get("below")
    if below is not None and (int(targets.min()) < 0 or int(targets.max()) >= below):
        return [f"targets run from {int(targets.min())} to {int(targets.max())}, expected 0..{below - 1}"]
    return []


def _more(found: Tensor) -> str:
    return f", and {len(found) - 1:,} more" if len(found) > 1 else ""


def _wrong_classes(targets: Tensor, classes: int, count: int, called: str) -> list[str]:
    if targets.dtype != torch.int64 or targets.shape != (count,):
        return [f"{called} are {targets.dtype} {list(targets.shape)}, expected torch.int64 {[count]}"]
    if not count:
        return ["there are no images"]
    if int(targets.min()) < 0 or int(targets.max()) >= classes:
        return [f"{called} run from {int(targets.min())} to {int(targets.max())}, expected 0..{classes - 1}"]
    return []


def _wrong_masks(masks: Tensor, classes: int, shape: list[int]) -> list[str]:
    if masks.dtype not in (torch.uint8, torch.int64) or list(masks.shape) != shape:
        return [f"masks are {masks.dtype} {list(masks.shape)}, expected torch.uint8 or torch.int64 {shape}"]
    if not shape[0]:
        return ["there are no images"]
    odd = ((masks < 0) | (masks >= classes)) & (masks != IGNORED)
    if bool(odd.any()):
        first = int(odd.flatten(1).any(1).nonzero()[0])
        expected = f"0..{classes - 1}, or {IGNORED} for a pixel that does not count"
        return [f"mask {first} has the class {int(masks[first][odd[first]][0])}, expected {expected}"]
    return []


def constant_targets(targets: Tensor, task: str, names: Sequence[str]) -> list[str]:
    """What of `targets`, those of a whole split as `targets_for` gives them, cannot be learned from it, in words.

    A class that nothing has, a label that all samples have or none, a value that never changes. Of a task of the user's
    own nothing is known.
    """
    if task not in _OF_HPO:
        return []
    if task in ("classification", "segmentation"):
        present = set(targets.unique().tolist())
        absent = [name for label, name in enumerate(names) if label not in present]
        some = f"{', '.join(absent[:5])}{' ...' if len(absent) > 5 else ''}"
        return [f"nothing of {len(absent)} of {len(names)} classes: {some}"] if absent else []
    columns = targets.reshape(len(targets), -1)
    same = (columns == columns[0]).all(0).tolist()
    if task == "multilabel":
        return [
            f"the label {name} on {'every sample' if columns[0, at] else 'no sample'}"
            for at, name in enumerate(names)
            if same[at]
        ]
    return [f"{columns[0, at].item():g} in every sample for {name}" for at, name in enumerate(names) if same[at]]


def targets_for(targets: Tensor, task: str, classes: int) -> Tensor:
    """As they are kept: int64 [N] for classification, uint8 [N, H, W] for segmentation, else float32 [N, classes].

    Those of a task of the user's own stay as they are.
    """
    if task not in _OF_HPO:
        return targets
    if task == "segmentation":
        return targets.to(torch.uint8)
    return targets if task == "classification" else targets.reshape(len(targets), classes).to(torch.float32)


def as_trained(targets: Tensor) -> Tensor:
    """A batch of what `targets_for` keeps, as losses and metrics take it: uint8, such as masks, becomes int64."""
    return targets.long() if targets.dtype == torch.uint8 else targets


def strata(targets: Tensor, task: str) -> Tensor:
    """int64 [N]: the classes that splits and folds give each part its share of; without classes, all one."""
    return targets if task == "classification" else torch.zeros(len(targets), dtype=torch.int64, device=targets.device)

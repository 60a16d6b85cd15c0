"""What the test split says of a model beyond its scores: intervals by resampling, residuals, classes, a picture."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hpo.data.mask_colours import palette
from hpo.own_messages import final_names
from hpo.training.losses import LossFunction
from hpo.training.metrics import MetricSet
from hpo.training.own_parts import OwnPart
from hpo.training.resampling import spread_of, spreads_of
from hpo.training.segmentation import MeanIoU, PixelAccuracy, class_ious, mean_iou, pixel_accuracy, pixel_counts

__all__ = ["PICTURED", "TestDetails", "picture"]

MOST_RESIDUALS = 300
"""Of items in a plot of residuals: more would hide each other."""
PICTURED = 4
"""So many test images are shown with their masks."""
TILE = 96
"""Pixels of the longer side of an image in a picture."""

_OF_COUNTS: dict[type, Callable[[Tensor], Tensor]] = {MeanIoU: mean_iou, PixelAccuracy: pixel_accuracy}


class TestDetails:
    """Takes in all batches of the test split, then tells `facts`."""

    __test__ = False  # no test of pytest's

    def __init__(self, task: str, metrics: MetricSet | None, loss: LossFunction) -> None:
        self._task, self._loss = task, loss
        self._parts: list[OwnPart] = list(metrics.parts) if metrics else []
        self._outputs: list[Tensor] = []
        self._targets: list[Tensor] = []
        self.predicted: Tensor | None = None
        """uint8 [PICTURED, H, W]: the masks of the first images; None for another task."""

    def add(self, outputs: Tensor, targets: Tensor) -> None:
        if self._task == "segmentation":
            if self.predicted is None:
                self.predicted = outputs[:PICTURED].argmax(1).to(torch.uint8).cpu()
            self._outputs.append(pixel_counts(outputs, targets).cpu())
        elif self._task != "classification" or any(not part.is_class for part in self._parts):
            self._outputs.append(outputs)
            self._targets.append(targets)

    def facts(self) -> dict[str, Any]:
        """test_spread: by the metric's name, how far the choice of test items moves it.

        regression: residuals, (targets, outputs) of each value. segmentation: per_class_iou and its spread, None for a
        class that is nowhere.
        """
        if not self._outputs:
            return {}
        outputs = torch.cat(self._outputs)
        if self._task == "segmentation":
            return self._of_masks(outputs)
        targets = torch.cat(self._targets)
        scores: dict[str, Any] = {
            part.name: partial(part.function, **part.parameters) for part in self._parts if not part.is_class
        }
        if self._task != "classification":
            scores["val_loss"] = self._loss
        spreads = {}
        for name, score in scores.items():
            found = spread_of(partial(_of_items, score, outputs, targets), len(outputs), outputs.device)
            if found is not None:
                spreads[final_names(name)[0]] = found
        facts: dict[str, Any] = {"test_spread": spreads}
        return facts | ({"residuals": _residuals(outputs, targets)} if self._task == "regression" else {})

    def _of_masks(self, counts: Tensor) -> dict[str, Any]:
        """counts: int64 [N, classes, classes] of hpo.training.segmentation.pixel_counts."""
        spreads = {}
        for part in self._parts:
            of_counts = _OF_COUNTS.get(part.function) if part.is_class else None  # type: ignore[call-overload]
            if of_counts is None:
                continue
            found = spread_of(partial(_of_images, of_counts, counts), len(counts), counts.device)
            if found is not None:
                spreads[final_names(part.name)[0]] = found
        ious = class_ious(counts.sum(0)).tolist()
        per_class = spreads_of(partial(_of_images, class_ious, counts), len(counts), counts.device)
        return {
            "test_spread": spreads,
            "per_class_iou": [None if value != value else value for value in ious],
            "per_class_spread": per_class,
        }


def _of_items(score: Callable[..., Any], outputs: Tensor, targets: Tensor, index: Tensor) -> Any:
    return score(outputs[index], targets[index])


def _of_images(score: Callable[[Tensor], Tensor], counts: Tensor, index: Tensor) -> Tensor:
    return score(counts[index].sum(0))


def _residuals(outputs: Tensor, targets: Tensor) -> list[list[list[float]]]:
    """Of each value, [target, output] of items that are evenly spread over the test split; six digits."""
    chosen = torch.linspace(0, len(outputs) - 1, min(len(outputs), MOST_RESIDUALS)).round().long().to(outputs.device)
    pairs = torch.stack([targets[chosen], outputs[chosen]], dim=2).cpu().transpose(0, 1).tolist()
    return [[[float(f"{number:.6g}") for number in pair] for pair in value] for value in pairs]


def picture(images: Tensor, masks: Tensor, predicted: Tensor) -> str:
    """A PNG in base64: a column for each image, with the image above its mask and the predicted one.

    images: uint8 [N, C, H, W]; masks, predicted: uint8 [N, H, W]
    """
    from PIL import Image

    height, width = masks.shape[1:]
    scale = TILE / max(height, width)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    whole = Image.new("RGB", (len(masks) * (size[0] + 4) - 4, 3 * (size[1] + 4) - 4), (255, 255, 255))
    for column, (image, *both) in enumerate(zip(images.cpu(), masks.cpu(), predicted.cpu(), strict=True)):
        shown = image[:3] if len(image) >= 3 else image[:1].expand(3, -1, -1)
        tiles = [Image.fromarray(np.ascontiguousarray(shown.permute(1, 2, 0).numpy()))]
        for mask in both:
            coloured = Image.fromarray(mask.numpy())
            coloured.putpalette(palette())
            tiles.append(coloured.convert("RGB"))
        for row, tile in enumerate(tiles):
            place = (column * (size[0] + 4), row * (size[1] + 4))
            whole.paste(tile.resize(size, Image.Resampling.NEAREST), place)
    stream = io.BytesIO()
    whole.save(stream, "PNG", optimize=True)
    return base64.b64encode(stream.getvalue()).decode()

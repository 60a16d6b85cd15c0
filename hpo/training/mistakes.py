"""The test images that a classifier gets wrong while it is most sure: which, taken for what, and small pictures."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from hpo.data.image_set import ImageSet
from hpo.data.streamed_set import StreamedSet
from hpo.data.tensor_set import TensorSet
from hpo.printable import one_line

__all__ = ["SHOWN", "MistakeFinder", "shown"]

SHOWN = 24
"""Mistakes that are kept: a look at more teaches no more, and each is a picture in the database."""

SIDE = 96
"""Pixels of the longer side of a picture at most; smaller images stay as they are."""


class MistakeFinder:
    """Takes in all batches of the test split, in its order."""

    def __init__(self) -> None:
        self._parts: list[tuple[Tensor, Tensor, Tensor]] = []

    def add(self, logits: Tensor, labels: Tensor) -> None:
        """logits [B, classes], labels int64 [B]. Reads nothing back from the device."""
        predicted = logits.argmax(1)
        sure = logits.softmax(1).gather(1, predicted[:, None])[:, 0].nan_to_num(0.0)
        self._parts.append((torch.where(predicted == labels, -1.0, sure), labels, predicted))

    def found(self) -> dict[str, Any]:
        """count: of all mistakes; shown: the SHOWN of them with the greatest `confidence`, each with the
        `index` of its image in the test split, and `label` and `predicted`, numbers of classes."""
        if not self._parts:
            return {"count": 0, "shown": []}
        sure, labels, predicted = (torch.cat(columns).cpu() for columns in zip(*self._parts, strict=True))
        count = int((sure >= 0).sum())
        first = sure.sort(descending=True, stable=True).indices[: min(SHOWN, count)]
        return {
            "count": count,
            "shown": [
                {
                    "index": at,
                    "label": int(labels[at]),
                    "predicted": int(predicted[at]),
                    "confidence": float(f"{float(sure[at]):.4g}"),
                }
                for at in first.tolist()
            ],
        }


def shown(
    found: dict[str, Any], test: ImageSet | TensorSet | StreamedSet, shape: object, files: Sequence[str] = ()
) -> dict[str, Any]:
    """`found` of a MistakeFinder with the `image` of each, WebP in base64; {} where the inputs are no images.

    shape: of one input, as a job's data set has it
    files: of each image of the test split, its path; with them each has its `file`
    """
    images = _images(test, shape, [one["index"] for one in found["shown"]])
    if images is None:
        return {}
    pictures = [_webp(image) for image in images]
    rows = [
        {**one, "image": picture, **({"file": one_line(files[one["index"]])} if files else {})}
        for one, picture in zip(found["shown"], pictures, strict=True)
    ]
    return {"mistakes": {**found, "shown": rows}}


def _images(test: ImageSet | TensorSet | StreamedSet, shape: object, numbers: Sequence[int]) -> Tensor | None:
    """uint8 [n, C, H, W] of the test images with these numbers; None where they are no images."""
    if not isinstance(shape, Sequence) or len(shape) != 3 or isinstance(test, TensorSet):
        return None
    index = torch.tensor(numbers, dtype=torch.int64, device=test.device)
    if isinstance(test, ImageSet):
        return test.images[index].cpu()
    if shape[0] not in (1, 3):
        return None
    if not numbers:
        return torch.empty((0, *shape), dtype=torch.uint8)
    inputs, _ = test.batch(index)  # as its transforms made them, on whatever scale
    low, high = torch.aminmax(inputs.float().flatten(1), dim=1)
    low, high = (value.view(-1, 1, 1, 1) for value in (low, high))
    scaled: Tensor = 255 * (inputs.float() - low) / (high - low).clamp_min(1e-9)
    return scaled.round().clamp(0, 255).to(torch.uint8).cpu()


def _webp(image: Tensor) -> str:
    """A picture of uint8 [C, H, W] of any number of channels: of three as colours, else the first as grey."""
    pixels = image.permute(1, 2, 0).numpy() if len(image) == 3 else image[0].numpy()
    picture = Image.fromarray(np.ascontiguousarray(pixels))
    picture.thumbnail((SIDE, SIDE))
    stream = io.BytesIO()
    picture.convert("RGB").save(stream, "WEBP", quality=80, method=4)
    return base64.b64encode(stream.getvalue()).decode()

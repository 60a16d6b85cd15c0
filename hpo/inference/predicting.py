"""Image files in, classes and probabilities out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from hpo.data.pixels import Unreadable, fitted, opened, squeezed
from hpo.errors import UsageError
from hpo.inference.model import SavedModel

__all__ = ["Prediction", "predict", "read_image"]


@dataclass(frozen=True)
class Prediction:
    """probabilities: by class name, the largest first."""

    image: Path
    name: str
    probability: float
    probabilities: dict[str, float]


def predict(model: SavedModel, paths: Sequence[Path], *, resize: bool = False) -> list[Prediction]:
    """The class of each image, in the given order. Raises UsageError for a file that it cannot read.

    resize: scale images of another size; those of a model that was trained on a folder of images always are, as then
    """
    cover = model.about.get("fit") == "cover"
    shape = model.image_shape
    images = torch.stack([read_image(path, shape, resize=resize, cover=cover) for path in paths])
    with torch.inference_mode():
        found = model.classifier(images).softmax(dim=1)
    return [_prediction(path, row, model.classes) for path, row in zip(paths, found, strict=True)]


def read_image(path: Path, shape: tuple[int, int, int], *, resize: bool, cover: bool = False) -> Tensor:
    """The image as uint8 [C, H, W] = `shape`.

    Colour is converted to grey, and grey to colour, as the model needs; transparency becomes black. A different size is
    an error unless `resize`, because few people mean to squeeze a photograph into 28 x 28 pixels; or `cover`: it is
    scaled until it covers H x W, and cut to its middle.
    """
    if shape[0] not in (1, 3):
        raise UsageError(f"the model reads {shape[0]} channels, and image files have 1 or 3")
    try:
        wide, high = opened(path, shape).size
        if (high, wide) != shape[1:] and not (resize or cover):
            raise UsageError(
                f"{path} is {wide} x {high} pixels, and the model reads {shape[2]} x {shape[1]}",
                next="give --resize to scale it, or crop it to that size",
            )
        return torch.from_numpy((fitted if cover else squeezed)(path, shape).copy())
    except FileNotFoundError:
        raise UsageError(f"no such image: {path}", next="check the path") from None
    except Unreadable as error:
        raise UsageError(
            f"{path} is not an image that can be read", evidence=[str(error)], next="save it as an 8-bit PNG or JPEG"
        ) from None


def _prediction(path: Path, row: Tensor, classes: Sequence[str]) -> Prediction:
    ranked = sorted(zip(classes, row.tolist(), strict=True), key=lambda pair: -pair[1])
    return Prediction(path, ranked[0][0], ranked[0][1], dict(ranked))

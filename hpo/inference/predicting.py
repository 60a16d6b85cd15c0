"""Image files in, classes and probabilities out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from torchvision.transforms.functional import pil_to_tensor

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
    """The class of each image, in the given order. Raises UsageError for a file that it cannot read."""
    images = torch.stack([read_image(path, model.shape, resize=resize) for path in paths])
    with torch.inference_mode():
        found = model.classifier(images).softmax(dim=1)
    return [_prediction(path, row, model.classes) for path, row in zip(paths, found, strict=True)]


def read_image(path: Path, shape: tuple[int, int, int], *, resize: bool) -> Tensor:
    """The image as uint8 [C, H, W] = `shape`.

    Colour is converted to grey, and grey to colour, as the model needs; transparency becomes black. A different size is
    an error unless `resize`, because few people mean to squeeze a photograph into 28 x 28 pixels.
    """
    from PIL import Image, UnidentifiedImageError

    channels, height, width = shape
    if channels not in (1, 3):
        raise UsageError(f"the model reads {channels} channels, and image files have 1 or 3")
    try:
        with Image.open(path) as file:
            image = file.convert("RGBA") if "transparency" in file.info or file.mode in ("LA", "PA") else file.copy()
    except FileNotFoundError:
        raise UsageError(f"no such image: {path}", next="check the path") from None
    except (UnidentifiedImageError, OSError, ValueError, Image.DecompressionBombError) as error:
        said = str(error).replace(f" {str(path)!r}", "")
        raise UsageError(f"{path} is not an image that can be read", evidence=[said]) from None
    if image.mode == "RGBA":
        image = Image.alpha_composite(Image.new("RGBA", image.size, (0, 0, 0, 255)), image)
    if image.mode.startswith(("I", "F")):
        raise UsageError(
            f"{path} has more than 8 bits per channel (mode {image.mode})", next="save it as an 8-bit PNG or JPEG"
        )
    image = image.convert("L" if channels == 1 else "RGB")
    if image.size != (width, height):
        if not resize:
            raise UsageError(
                f"{path} is {image.width} x {image.height} pixels, and the model reads {width} x {height}",
                next="give --resize to scale it, or crop it to that size",
            )
        image = image.resize((width, height), Image.Resampling.LANCZOS)
    pixels: Tensor = pil_to_tensor(image)
    return pixels


def _prediction(path: Path, row: Tensor, classes: Sequence[str]) -> Prediction:
    ranked = sorted(zip(classes, row.tolist(), strict=True), key=lambda pair: -pair[1])
    return Prediction(path, ranked[0][0], ranked[0][1], dict(ranked))

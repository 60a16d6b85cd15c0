"""Image files in; out, by the task, classes with probabilities, labels, or values."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from hpo.data.pixels import Unreadable, fitted, opened, squeezed
from hpo.errors import UsageError
from hpo.inference.model import SavedModel

__all__ = ["Prediction", "predict", "read_image"]


@dataclass(frozen=True)
class Prediction:
    """What the model says of one image.

    classification: name, and the probabilities by class name, the largest first
    multilabel:     names of the labels whose probability is above a half, and all probabilities by label
    regression:     values by name
    """

    image: Path
    names: tuple[str, ...] = ()
    probabilities: dict[str, float] = field(default_factory=dict)
    values: dict[str, float] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return self.names[0]

    @property
    def probability(self) -> float:
        return self.probabilities[self.name]

    def __str__(self) -> str:
        if self.values:
            return "  ".join(f"{name} {value:.6g}" for name, value in self.values.items())
        return "  ".join(f"{name}  {self.probabilities[name]:.4f}" for name in self.names) or "no label"

    def as_json(self, task: str) -> dict[str, Any]:
        """As `hpo predict --json` prints it."""
        if task == "regression":
            return {"image": str(self.image), "values": self.values}
        if task == "multilabel":
            return {"image": str(self.image), "labels": list(self.names), "probabilities": self.probabilities}
        return {
            "image": str(self.image),
            "class": self.name,
            "probability": self.probability,
            "probabilities": self.probabilities,
        }


def predict(model: SavedModel, paths: Sequence[Path], *, resize: bool = False) -> list[Prediction]:
    """What the model says of each image, in the given order. Raises UsageError for a file that it cannot read.

    resize: scale images of another size; those of a model that was trained on a folder of images always are, as then
    """
    cover = model.about.get("fit") == "cover"
    shape = model.image_shape
    images = torch.stack([read_image(path, shape, resize=resize, cover=cover) for path in paths])
    with torch.inference_mode():
        outputs = model.classifier(images)
    return [_PREDICTIONS[model.task](path, row, model.classes) for path, row in zip(paths, outputs, strict=True)]


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


def _ranked(path: Path, logits: Tensor, classes: Sequence[str]) -> Prediction:
    ranked = sorted(zip(classes, logits.softmax(0).tolist(), strict=True), key=lambda pair: -pair[1])
    return Prediction(path, (ranked[0][0],), dict(ranked))


def _labelled(path: Path, logits: Tensor, labels: Sequence[str]) -> Prediction:
    shares = dict(zip(labels, logits.sigmoid().tolist(), strict=True))
    return Prediction(path, tuple(name for name, share in shares.items() if share > 0.5), shares)


def _valued(path: Path, outputs: Tensor, names: Sequence[str]) -> Prediction:
    return Prediction(path, values=dict(zip(names, outputs.tolist(), strict=True)))


_PREDICTIONS: dict[str, Callable[[Path, Tensor, Sequence[str]], Prediction]] = {
    "classification": _ranked,
    "multilabel": _labelled,
    "regression": _valued,
}

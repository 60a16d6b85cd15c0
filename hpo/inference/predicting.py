"""Image files in; out, by the task, classes with probabilities, labels, values, or masks."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from hpo.data.mask_colours import palette
from hpo.data.pixels import Unreadable, fitted, opened, squeezed
from hpo.errors import UsageError
from hpo.inference.model import SavedModel
from hpo.training.own_parts import OwnPart
from hpo.training.own_task import said_of
from hpo.wording import shortened

__all__ = ["Prediction", "predict", "read_image", "write_masks"]


@dataclass(frozen=True)
class Prediction:
    """What the model says of one image.

    classification: name, and the probabilities by class name, the largest first
    multilabel:     names of the labels whose probability is above a half, and all probabilities by label
    regression:     values by name
    segmentation:   mask, uint8 [H, W] of class numbers, and the share of the pixels by class name, the largest first
    said:           what a Task of the user's own says
    mask_file:      where `write_masks` has written it; cut: the mask is of the middle of the image
    """

    image: Path
    names: tuple[str, ...] = ()
    probabilities: dict[str, float] = field(default_factory=dict)
    values: dict[str, float] = field(default_factory=dict)
    mask: Tensor | None = None
    shares: dict[str, float] = field(default_factory=dict)
    said: Any = None
    mask_file: Path | None = None
    cut: bool = False

    @property
    def name(self) -> str:
        return self.names[0]

    @property
    def probability(self) -> float:
        return self.probabilities[self.name]

    def __str__(self) -> str:
        if self.mask is not None:
            said = "  ".join(f"{name} {share:.1%}" for name, share in self.shares.items() if share)
            return f"{said}  -> {self.mask_file}" if self.mask_file else said
        if self.said is not None:
            return json.dumps(self.said, ensure_ascii=False)
        if self.values:
            return "  ".join(f"{name} {value:.6g}" for name, value in self.values.items())
        return "  ".join(f"{name}  {self.probabilities[name]:.4f}" for name in self.names) or "no label"

    def as_json(self, task: str) -> dict[str, Any]:
        """As `hpo predict --json` prints it."""
        if task not in _PREDICTIONS:
            return {"image": str(self.image), "prediction": self.said}
        if task == "regression":
            return {"image": str(self.image), "values": self.values}
        if task == "segmentation":
            return {"image": str(self.image), "mask": str(self.mask_file), "shares": self.shares}
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
    of_one = _PREDICTIONS.get(model.task) or _own_says(model)
    made = [of_one(path, row, model.classes) for path, row in zip(paths, outputs, strict=True)]
    return [replace(one, cut=cover) for one in made]


def write_masks(found: Sequence[Prediction], folder: Path) -> list[Prediction]:
    """Write the mask of each image into `folder` as IMAGE.png, and return the predictions with their files.

    A PNG of the image's own size with a palette: its pixels are the numbers of the classes. Two images of one name get
    files of different names. Raises UsageError where the folder cannot be written.
    """
    from PIL import Image

    written: dict[Path, Prediction] = {}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for one in found:
            assert one.mask is not None
            path = folder / f"{one.image.stem}.png"
            while path in written or path.resolve() == one.image.resolve():
                path = path.with_name(f"{path.stem}-mask.png")
            mask = Image.fromarray(one.mask.numpy())
            mask.putpalette(palette())
            with Image.open(one.image) as image:
                whole = mask if one.cut else mask.resize(image.size, Image.Resampling.NEAREST)
            whole.save(path)
            written[path] = replace(one, mask_file=path)
    except OSError as error:
        raise UsageError(
            f"cannot write masks to {folder}: {error.strerror or error}", next="give another --out"
        ) from error
    return list(written.values())


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


def _own_says(model: SavedModel) -> Callable[[Path, Tensor, Sequence[str]], Prediction]:
    """As the Task of the user's own says it; the bare numbers where it has no function for it."""
    if model.predict is None:
        function = model.about["predict"]["function"]
        raise UsageError(
            f"the outputs are read by code that does not come with hpo: {shortened(function, 200)}",
            evidence=["whoever wrote the folder chose it, and it would be run"],
            next="--study with the file of the study that has this task, or --trust if you know who wrote it",
        )
    if not model.predict:
        return lambda path, output, classes: Prediction(path, said=output.tolist())
    described = {"function": model.predict, "reads": list(model.about["predict"]["parameters"])}
    predict = OwnPart("task's", "predict", described, model.about["predict"]["parameters"])
    return lambda path, output, classes: Prediction(path, said=said_of(predict, output, tuple(classes)))


def _masked(path: Path, logits: Tensor, classes: Sequence[str]) -> Prediction:
    mask = logits.argmax(0).to(torch.uint8)
    counts = torch.bincount(mask.flatten(), minlength=len(classes)).tolist()
    ranked = sorted(zip(classes, (count / mask.numel() for count in counts), strict=True), key=lambda pair: -pair[1])
    return Prediction(path, mask=mask, shares=dict(ranked))


_PREDICTIONS: dict[str, Callable[[Path, Tensor, Sequence[str]], Prediction]] = {
    "classification": _ranked,
    "multilabel": _labelled,
    "regression": _valued,
    "segmentation": _masked,
}

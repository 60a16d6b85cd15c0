"""Data sets for tasks other than classification, named in studies and jobs as "task_data:..."."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from hpo.data.files import Folders, RawImages, checksum
from hpo.data.samples import Samples

SHAPE = (1, 8, 8)


def pictures(split: str) -> tuple[Tensor, Tensor]:
    """Images [N, 1, 8, 8] of two halves, and the brightness 0..1 of each half [N, 2]."""
    count = {"train": 400, "test": 100}[split]
    random = torch.Generator().manual_seed(count)
    bright = torch.rand(count, 2, generator=random)
    halves = bright.repeat_interleave(4, dim=1)[:, None, None, :].expand(count, 1, 8, 8)
    noise = 0.1 * torch.rand(count, 1, 8, 8, generator=random)
    return ((0.9 * halves + noise) * 255).to(torch.uint8), bright


def made(images: Tensor, targets: Tensor) -> RawImages:
    return RawImages(images, targets, checksum(images, targets))


def values(split: str, folders: Folders) -> RawImages:
    """Two values to predict: how bright each half is."""
    images, bright = pictures(split)
    return made(images, bright)


def labels(split: str, folders: Folders) -> RawImages:
    """Two labels, of which both, one or none is on an image: each half that is bright."""
    images, bright = pictures(split)
    return made(images, (bright > 0.5).to(torch.int64))


def broken_values(split: str, folders: Folders) -> RawImages:
    images, bright = pictures(split)
    bright[3, 0] = float("nan")
    return made(images, bright)


def whole_values(split: str, folders: Folders) -> RawImages:
    images, bright = pictures(split)
    return made(images, (bright * 10).to(torch.int64))


def odd_labels(split: str, folders: Folders) -> RawImages:
    images, bright = pictures(split)
    return made(images, (bright * 3).to(torch.int64))


def one_value(split: str, folders: Folders) -> RawImages:
    images, bright = pictures(split)
    return made(images, bright[:, 0])


def tensors(split: str) -> tuple[Tensor, Tensor]:
    """Inputs [N, 3], and two sums of them [N, 2]."""
    count = {"train": 60, "test": 20}[split]
    inputs = torch.randn(count, 3, generator=torch.Generator().manual_seed(count))
    return inputs, inputs[:, :2] + inputs[:, 2:]


def tensors_regression(split: str, folders: Folders) -> Samples:
    return Samples(*tensors(split))


def tensors_multilabel(split: str, folders: Folders) -> Samples:
    inputs, sums = tensors(split)
    return Samples(inputs, sums > 0)


def tensors_classification(split: str, folders: Folders) -> Samples:
    inputs, sums = tensors(split)
    return Samples(inputs, (sums[:, 0] > 0).to(torch.int64))


def pixels(split: str) -> tuple[Tensor, Tensor]:
    """The images, and a mask uint8 [N, 8, 8] of each: which half is bright. The border does not count."""
    images, bright = pictures(split)
    masks = (bright > 0.5).to(torch.uint8).repeat_interleave(4, dim=1)[:, None, :].expand(-1, 8, 8).clone()
    masks[:, 0] = 255
    return images, masks


def masks(split: str, folders: Folders) -> RawImages:
    return made(*pixels(split))


def small_masks(split: str, folders: Folders) -> RawImages:
    images, found = pixels(split)
    return made(images, found[:, 1:])


def odd_masks(split: str, folders: Folders) -> RawImages:
    images, found = pixels(split)
    found[3, 4, 4] = 7
    return made(images, found)


def float_masks(split: str, folders: Folders) -> RawImages:
    images, found = pixels(split)
    return made(images, found.float())


def dark_masks(split: str, folders: Folders) -> RawImages:
    images, found = pixels(split)
    return made(images, torch.where(found == 1, 0, found))


def one_class(split: str, folders: Folders) -> RawImages:
    images, bright = pictures(split)
    return made(images, torch.zeros(len(bright), dtype=torch.int64))


def one_sided(split: str, folders: Folders) -> RawImages:
    """Both classes, and a validation part of its own that has forgotten the second."""
    images, bright = pictures(split)
    right = bright[:, 1] > bright[:, 0]
    found = made(images, right.to(torch.int64))
    return replace(found, validation=~right & (torch.arange(len(right)) < 100))


def bare_labels(split: str, folders: Folders) -> RawImages:
    images, bright = pictures(split)
    return made(images, torch.stack([bright[:, 0] > 0.5, torch.zeros(len(bright))], dim=1))


def constant_values(split: str, folders: Folders) -> RawImages:
    images, bright = pictures(split)
    return made(images, torch.stack([bright[:, 0], torch.full((len(bright),), 3.0)], dim=1))


def pixelwise(shape: tuple[int, int, int], classes: int, hidden_units: int = 8) -> torch.nn.Module:
    """[N, C, H, W] -> [N, classes, H, W]."""
    return torch.nn.Sequential(
        torch.nn.Conv2d(shape[0], hidden_units, 3, padding=1),
        torch.nn.ReLU(),
        torch.nn.Conv2d(hidden_units, classes, 1),
    )


def directions(split: str, folders: Folders) -> RawImages:
    """A task of the user's own: the angle [N, 1] in degrees whose tangent is one half's brightness over the other's."""
    images, bright = pictures(split)
    return made(images, torch.rad2deg(torch.atan2(bright[:, 1:], bright[:, :1])))


def turned_directions(split: str, folders: Folders) -> RawImages:
    images, bright = pictures(split)
    return made(images, 400 * bright[:, :1])


def direction_loss(outputs: Tensor, targets: Tensor) -> Tensor:
    radians = torch.deg2rad(targets)
    return torch.nn.functional.mse_loss(outputs, torch.cat([radians.cos(), radians.sin()], dim=1))


def degrees_off(outputs: Tensor, targets: Tensor) -> Tensor:
    return (torch.rad2deg(torch.atan2(outputs[:, 1:], outputs[:, :1])) - targets).abs().mean()


def right_angles(targets: Tensor, classes: tuple[str, ...]) -> list[str]:
    return [f"{targets.max():.0f} degrees in {classes[0]}, expected 0 to 90"] if targets.max() > 90 else []


def said_direction(output: Tensor, classes: tuple[str, ...]) -> dict[str, float]:
    return {"degrees": float(torch.rad2deg(torch.atan2(output[1], output[0])))}


def no_json(output: Tensor, classes: tuple[str, ...]) -> Tensor:
    return output

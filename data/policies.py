"""RandAugment, TrivialAugment and colour jitter: which operation each image gets, and how strong. Distributions are
torchvision's.

RandAugment: E. Cubuk et al., 2019, arXiv:1909.13719. TrivialAugment: S. Müller, F. Hutter, 2021, arXiv:2103.10158.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache

import torch
from torch import Generator, Tensor

from hpo.data import colours
from hpo.data.colours import where
from hpo.data.motions import move

__all__ = ["BINS", "OPERATIONS", "apply", "color_jitter", "magnitudes", "rand_augment", "trivial_augment"]

OPERATIONS = ("Identity", "ShearX", "ShearY", "TranslateX", "TranslateY", "Rotate", "Brightness", "Color", "Contrast",
              "Sharpness", "Posterize", "Solarize", "AutoContrast", "Equalize")  # fmt: skip
"""torchvision's names; an operation is a place in this list."""

BINS = 31
"""An operation's strength is one of so many, from none to the largest."""

MOVES, SIGNED = slice(1, 6), slice(1, 10)
"""The operations that move pixels, and those that go either way."""

VALUED = (colours.brightness, colours.saturation, colours.contrast, colours.sharpness)
"""Brightness to Sharpness."""


@cache
def magnitudes(wide: bool, height: int, width: int, device: torch.device) -> Tensor:
    """float32 [operations, BINS] of RandAugment, or `wide`: of TrivialAugmentWide."""
    steps = torch.arange(BINS, device=device)

    def up_to(most: float) -> Tensor:
        return torch.linspace(0.0, most, BINS, device=device)

    shear, turn, blend, lost_bits = (0.99, 135.0, 0.99, 6) if wide else (0.3, 30.0, 0.9, 4)
    across, down = (32.0, 32.0) if wide else (150.0 / 331.0 * width, 150.0 / 331.0 * height)
    bits = 8 - (steps / ((BINS - 1) / lost_bits)).round()
    moves = [up_to(shear), up_to(shear), up_to(across), up_to(down), up_to(turn)]
    threshold = torch.linspace(255.0, 0.0, BINS, device=device)
    none = up_to(0.0)
    return torch.stack([none, *moves, *[up_to(blend)] * len(VALUED), bits, threshold, none, none])


def rand_augment(images: Tensor, count: int, magnitude: int, generator: Generator) -> Tensor:
    """torchvision's RandAugment(count, magnitude) of images uint8 [B, C, H, W]; magnitude from 0 to 30."""
    for _ in range(count):
        images = _drawn(images, generator, wide=False, magnitude=magnitude)
    return images


def trivial_augment(images: Tensor, generator: Generator) -> Tensor:
    """torchvision's TrivialAugmentWide() of images uint8 [B, C, H, W]: one operation each, of any strength."""
    return _drawn(images, generator, wide=True)


def apply(images: Tensor, operation: Tensor, values: Tensor) -> Tensor:
    """The operation (int64 [B]) of each image uint8 [B, C, H, W] by its value (float [B]), as torchvision reads it."""

    def only(number: int) -> Tensor:
        return torch.where(operation == number, values, 0.0)

    moves = only(5), only(1), only(2), only(3).trunc(), only(4).trunc()
    images = where(images, (operation >= MOVES.start) & (operation < MOVES.stop), move, *moves)
    for number, function in enumerate(VALUED, OPERATIONS.index("Brightness")):
        images = where(images, operation == number, function, 1 + values.to(torch.float64))
    images = where(images, operation == 10, colours.posterize, values)
    images = where(images, operation == 11, colours.solarize, values)
    images = where(images, operation == 12, colours.autocontrast)
    return where(images, operation == 13, colours.equalize)


def color_jitter(images: Tensor, strengths: Mapping[str, float], generator: Generator) -> Tensor:
    """torchvision's ColorJitter of images uint8 [B, C, H, W]: each by its own factors, in an order of its own.

    strengths: of brightness, contrast, saturation and hue, those above 0
    """
    count, device = len(images), images.device
    order = torch.rand(count, len(strengths), generator=generator, device=device).argsort(1)
    drawn = torch.rand(len(strengths), count, generator=generator, device=device)
    values = [_between(name, most, part) for (name, most), part in zip(strengths.items(), drawn, strict=True)]
    for turn in order.unbind(1):
        for number, name in enumerate(strengths):
            images = where(images, turn == number, getattr(colours, name), values[number])
    return images


def _between(name: str, most: float, drawn: Tensor) -> Tensor:
    low, high = (-most, most) if name == "hue" else (max(0.0, 1 - most), 1 + most)
    return low + drawn * (high - low)


def _drawn(images: Tensor, generator: Generator, *, wide: bool, magnitude: int | None = None) -> Tensor:
    """One operation for each image; of a strength of its own without a `magnitude`."""
    count, device = len(images), images.device
    table = magnitudes(wide, images.shape[2], images.shape[3], device)
    operation = torch.randint(len(OPERATIONS), (count,), generator=generator, device=device)
    negative = torch.randint(2, (count,), generator=generator, device=device)
    if magnitude is None:
        values = table[operation, torch.randint(BINS, (count,), generator=generator, device=device)]
    else:
        values = table[:, magnitude][operation]
    signed = (operation >= SIGNED.start) & (operation < SIGNED.stop)
    return apply(images, operation, torch.where(signed & (negative == 1), -values, values))

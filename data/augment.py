"""Augmentation of whole batches on the device, with torchvision's semantics and one random draw per image.

Each transform comes in two forms: `crop(images, tops, lefts, padding)` applies given values, `random_crop(images,
padding, generator)` draws them. All randomness comes from the generator, which must live on the images' device. There
are no host reads on a GPU, so a step that augments can be captured in a CUDA graph once its generator is
registered with the graph. What `Augment.move` does comes before normalisation, on pixels of 0..255, so that what is
filled in is black as in torchvision; cutout and erasing work on normalised images, where the mean is zero.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from hpo.data.motions import crop, flip, rotate
from hpo.data.policies import color_jitter, rand_augment, trivial_augment
from hpo.data.warp import random_warp
from hpo.torch_internals import sample_dirichlet

__all__ = ["AlternatingFlip", "Augment", "both_ways", "crop", "cutmix", "cutout", "erase", "flip", "mixup",
           "random_crop", "random_cutout", "random_erasing", "random_flip", "random_rotate", "rotate"]  # fmt: skip

JITTER = ("brightness", "contrast", "saturation", "hue")


@dataclass(frozen=True)
class Augment:
    """The augmentation settings of a recipe (see hpo.study.recipe.RECIPE); the defaults do nothing.

    crop_padding: pixels; rotation, shear: largest angle in degrees; zoom: factors from 1 - zoom to 1 + it; elastic,
    elastic_sigma: pixels of displacement and of its blur; cutout: side in pixels; randaugment: operations for each
    image; random_erasing: the probability
    """

    crop_padding: int = 0
    flip: bool = False
    rotation: float = 0.0
    zoom: float = 0.0
    shear: float = 0.0
    elastic: float = 0.0
    elastic_sigma: float = 4.0
    cutout: int = 0
    brightness: float = 0.0
    contrast: float = 0.0
    saturation: float = 0.0
    hue: float = 0.0
    trivial_augment: bool = False
    randaugment: int = 0
    randaugment_magnitude: int = 9
    random_erasing: float = 0.0

    def __bool__(self) -> bool:
        return self != Augment(elastic_sigma=self.elastic_sigma, randaugment_magnitude=self.randaugment_magnitude)

    def move(self, images: Tensor, generator: Generator) -> Tensor:
        """Before normalisation: images [B, C, H, W] of 0..255 in any type are moved, and if uint8 recoloured."""
        if self.zoom or self.shear or self.elastic:
            images = self._warp(images, generator)
        elif self.rotation or self.crop_padding:
            images = self._turn_and_crop(images, generator)
        if self.flip:
            images = random_flip(images, generator)
        jitter = {name: strength for name in JITTER if (strength := getattr(self, name))}
        if jitter:
            images = color_jitter(images, jitter, generator)
        if self.trivial_augment:
            images = trivial_augment(images, generator)
        if self.randaugment:
            images = rand_augment(images, self.randaugment, self.randaugment_magnitude, generator)
        return images

    def _warp(self, images: Tensor, generator: Generator) -> Tensor:
        """Rotation and crop as well: one reading between pixels blurs less than two, and takes no longer."""
        return random_warp(
            images,
            generator,
            rotation=self.rotation,
            zoom=self.zoom,
            shear=self.shear,
            padding=self.crop_padding,
            elastic=self.elastic,
            sigma=self.elastic_sigma,
        )

    def _turn_and_crop(self, images: Tensor, generator: Generator) -> Tensor:
        """As torchvision's RandomRotation and RandomCrop have it by default: the nearest pixels."""
        if self.rotation:
            images = random_rotate(images, self.rotation, generator)
        return random_crop(images, self.crop_padding, generator) if self.crop_padding else images

    def cover(self, images: Tensor, generator: Generator) -> Tensor:
        """After normalisation: cutout and erasing of float images [B, C, H, W]."""
        if self.cutout:
            images = random_cutout(images, self.cutout, generator)
        return random_erasing(images, self.random_erasing, generator) if self.random_erasing else images


class AlternatingFlip:
    """Each image is mirrored in every second epoch, half of them in the first: K. Jordan, 2024, arXiv:2404.00498.

    generator: on the CPU; says which of the `count` images begin mirrored
    """

    def __init__(self, count: int, generator: Generator, device: torch.device) -> None:
        self._begins = (torch.rand(count, generator=generator) < 0.5).to(device)
        self._turned = torch.zeros((), dtype=torch.bool, device=device)

    def begin_epoch(self, epoch: int) -> None:
        """From 0. It is written into a tensor, which a recorded step reads."""
        self._turned.fill_(epoch % 2 == 1)

    def __call__(self, images: Tensor, index: Tensor) -> Tensor:
        """The images [B, C, H, W] at `index` (int64 [B])."""
        return flip(images, self._begins.index_select(0, index) ^ self._turned)


def random_crop(images: Tensor, padding: int, generator: Generator) -> Tensor:
    """torchvision's RandomCrop((H, W), padding) of images [B, C, H, W], an offset per image."""
    offsets = torch.randint(0, 2 * padding + 1, (2, len(images)), generator=generator, device=images.device)
    return crop(images, offsets[0], offsets[1], padding)


def random_flip(images: Tensor, generator: Generator) -> Tensor:
    """torchvision's RandomHorizontalFlip() of images [B, C, H, W]: each with probability one half."""
    return flip(images, torch.rand(len(images), generator=generator, device=images.device) < 0.5)


def random_rotate(images: Tensor, degrees: float, generator: Generator) -> Tensor:
    """torchvision's RandomRotation(degrees) of images [B, C, H, W]: each by its own angle within +-degrees."""
    angles = torch.rand(len(images), generator=generator, device=images.device)
    return rotate(images, (2 * angles - 1) * degrees)


def cutout(images: Tensor, rows: Tensor, columns: Tensor, side: int) -> Tensor:
    """Set a square of `side` pixels about (rows[i], columns[i]), int64 [B], to zero; what lies outside is cut off.

    For an even side the square begins side/2 before the centre. T. DeVries, G. Taylor, 2017, arXiv:1708.04552.
    """
    height, width = images.shape[2:]
    down = torch.arange(height, device=images.device) - (rows[:, None] - side // 2)
    right = torch.arange(width, device=images.device) - (columns[:, None] - side // 2)
    in_rows, in_columns = (down >= 0) & (down < side), (right >= 0) & (right < side)
    return images.masked_fill((in_rows[:, :, None] & in_columns[:, None, :]).unsqueeze(1), 0)


def random_cutout(images: Tensor, side: int, generator: Generator) -> Tensor:
    """A square at a uniform centre of each image [B, C, H, W] to zero, which is the mean once normalised."""
    batch, _, height, width = images.shape
    rows = torch.randint(0, height, (batch,), generator=generator, device=images.device)
    columns = torch.randint(0, width, (batch,), generator=generator, device=images.device)
    return cutout(images, rows, columns, side)


def mixup(images: Tensor, labels: Tensor, alpha: float, generator: Generator) -> tuple[Tensor, Tensor, Tensor]:
    """(lam * images + (1 - lam) * others, the others' labels, lam), lam a 0-d tensor from Beta(alpha, alpha).

    images: float [B, C, H, W]; the other of image i is image i - 1, as in torchvision's MixUp: batches come shuffled.
    The loss is lam * loss(labels) + (1 - lam) * loss(others). H. Zhang et al., 2018, arXiv:1710.09412.
    """
    # torch.distributions.Beta draws the same way but takes no generator; a ratio of gammas would underflow to 0/0.
    lam = sample_dirichlet(torch.full((2,), alpha, device=images.device), generator)[0]
    others = images.roll(1, 0)
    return torch.lerp(others, images, lam.to(images.dtype)), labels.roll(1, 0), lam


def cutmix(images: Tensor, labels: Tensor, alpha: float, generator: Generator) -> tuple[Tensor, Tensor, Tensor]:
    """(images with one rectangle of the others, the others' labels, the share of their own pixels as a 0-d tensor).

    The rectangle has a share of 1 - lam before it is cut off at the border, lam from Beta(alpha, alpha); else as
    `mixup`. It is torchvision's CutMix. S. Yun et al., 2019, arXiv:1905.04899.
    """
    height, width = images.shape[2:]
    lam = sample_dirichlet(torch.full((2,), alpha, device=images.device), generator)[0]
    centre = torch.rand(2, generator=generator, device=images.device)
    half = 0.5 * (1 - lam).sqrt()
    inside = []
    for size, at in ((height, centre[0]), (width, centre[1])):
        middle, reach = (at * size).floor().clamp_max(size - 1), (half * size).floor()
        places = torch.arange(size, device=images.device)
        inside.append((places >= middle - reach) & (places < middle + reach))
    covered = inside[0][:, None] & inside[1]
    mixed = torch.where(covered, images.roll(1, 0), images)
    return mixed, labels.roll(1, 0), 1 - covered.sum() / (height * width)


def erase(images: Tensor, tops: Tensor, lefts: Tensor, heights: Tensor, widths: Tensor) -> Tensor:
    """Set a rectangle of each image [B, C, H, W], given by int64 [B], to zero, which is the mean once normalised."""
    down = torch.arange(images.shape[2], device=images.device) - tops[:, None]
    right = torch.arange(images.shape[3], device=images.device) - lefts[:, None]
    in_rows, in_columns = (down >= 0) & (down < heights[:, None]), (right >= 0) & (right < widths[:, None])
    return images.masked_fill((in_rows[:, :, None] & in_columns[:, None, :]).unsqueeze(1), 0)


def random_erasing(images: Tensor, probability: float, generator: Generator) -> Tensor:
    """torchvision's RandomErasing(probability) of images [B, C, H, W]. Z. Zhong et al., 2017, arXiv:1708.04896.

    2 to 33 % of the image, of 3:10 to 10:3; of ten rectangles the first one that fits.
    """
    batch, _, height, width = images.shape
    share, ratio, row, column = torch.rand(4, batch, 10, generator=generator, device=images.device)
    area = height * width * (0.02 + 0.31 * share)
    aspect = (math.log(0.3) + ratio * math.log(3.3 / 0.3)).exp()
    heights, widths = (area * aspect).sqrt().round(), (area / aspect).sqrt().round()
    fits = (heights < height) & (widths < width)
    first = fits.to(torch.uint8).argmax(1, keepdim=True)
    erased = torch.rand(batch, generator=generator, device=images.device) < probability
    tall, wide = (torch.where(erased & fits.any(1), side.gather(1, first)[:, 0], 0.0) for side in (heights, widths))
    top = (row.gather(1, first)[:, 0] * (height - tall + 1)).floor()
    left = (column.gather(1, first)[:, 0] * (width - wide + 1)).floor()
    return erase(images, top, left, tall, wide)


def both_ways(forward: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    """`forward` averaged over images [N, C, H, W] and their mirror images, whose maps [N, C, H, W] are turned back."""

    def averaged(images: Tensor) -> Tensor:
        outputs, mirrored = forward(images), forward(images.flip(3))
        return (outputs + (mirrored.flip(3) if mirrored.ndim == 4 else mirrored)) / 2

    return averaged

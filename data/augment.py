"""Augmentation of whole batches on the device, with torchvision's semantics and one random draw per image.

Each transform comes in two forms: `crop(images, tops, lefts, padding)` applies given values, `random_crop(images,
padding, generator)` draws them. All randomness comes from the generator, which must live on the images' device. There
are no boolean masks and no host reads, so a step that augments can be captured in a CUDA graph once its generator is
registered with the graph. Crop, flip and rotate move pixels of 0..255, before normalisation, so that what they fill in
is black as in torchvision; cutout works on normalised images, where the mean is zero.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Generator, Tensor
from torch.nn import functional as F

from hpo.torch_internals import sample_dirichlet

__all__ = ["Augment", "crop", "cutout", "flip", "mixup", "random_crop", "random_cutout", "random_flip",
           "random_rotate", "rotate"]  # fmt: skip


@dataclass(frozen=True)
class Augment:
    """The augmentation settings of a recipe (see hpo.study.recipe.RECIPE); the defaults do nothing.

    crop_padding: pixels; rotation: largest angle in degrees; cutout: side in pixels.
    """

    crop_padding: int = 0
    flip: bool = False
    rotation: float = 0.0
    cutout: int = 0

    def __bool__(self) -> bool:
        return self != Augment()

    def move(self, images: Tensor, generator: Generator) -> Tensor:
        """Before normalisation: rotation, crop and flip of images [B, C, H, W] of 0..255, any dtype."""
        if self.rotation:
            images = random_rotate(images, self.rotation, generator)
        if self.crop_padding:
            images = random_crop(images, self.crop_padding, generator)
        if self.flip:
            images = random_flip(images, generator)
        return images

    def cover(self, images: Tensor, generator: Generator) -> Tensor:
        """After normalisation: cutout of float images [B, C, H, W]."""
        return random_cutout(images, self.cutout, generator) if self.cutout else images


def crop(images: Tensor, tops: Tensor, lefts: Tensor, padding: int) -> Tensor:
    """Pad each side with `padding` zeros, then cut [H, W] at (tops[i], lefts[i]), int64 [B] in 0..2*padding."""
    batch, channels, height, width = images.shape
    padded_width = width + 2 * padding
    rows = tops[:, None] + torch.arange(height, device=images.device)
    columns = lefts[:, None] + torch.arange(width, device=images.device)
    source = (rows[:, :, None] * padded_width + columns[:, None, :]).view(batch, 1, height * width)
    padded = F.pad(images, (padding, padding, padding, padding)).flatten(2)
    return padded.gather(2, source.expand(-1, channels, -1)).view(images.shape)


def random_crop(images: Tensor, padding: int, generator: Generator) -> Tensor:
    """torchvision's RandomCrop((H, W), padding) of images [B, C, H, W], an offset per image."""
    offsets = torch.randint(0, 2 * padding + 1, (2, len(images)), generator=generator, device=images.device)
    return crop(images, offsets[0], offsets[1], padding)


def flip(images: Tensor, which: Tensor) -> Tensor:
    """Mirror left and right where which (bool [B]) is true."""
    return torch.where(which[:, None, None, None], images.flip(3), images)


def random_flip(images: Tensor, generator: Generator) -> Tensor:
    """torchvision's RandomHorizontalFlip() of images [B, C, H, W]: each with probability one half."""
    return flip(images, torch.rand(len(images), generator=generator, device=images.device) < 0.5)


def rotate(images: Tensor, degrees: Tensor) -> Tensor:
    """Turn image i counter-clockwise about its centre by degrees[i] (float [B]): nearest pixel, zeros outside."""
    batch, channels, height, width = images.shape
    angle = (degrees.to(torch.float32) * (math.pi / 180)).view(-1, 1, 1)
    cosine, sine = angle.cos(), angle.sin()
    down = torch.arange(height, device=images.device).sub((height - 1) / 2).view(1, -1, 1)
    right = torch.arange(width, device=images.device).sub((width - 1) / 2).view(1, 1, -1)
    rows = (sine * right + cosine * down + (height - 1) / 2).round()
    columns = (cosine * right - sine * down + (width - 1) / 2).round()
    inside = (rows >= 0) & (rows < height) & (columns >= 0) & (columns < width)
    source = rows.clamp(0, height - 1) * width + columns.clamp(0, width - 1)
    source = source.to(torch.int64).view(batch, 1, -1).expand(-1, channels, -1)
    turned = images.flatten(2).gather(2, source).view(images.shape)
    return turned * inside.unsqueeze(1)


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

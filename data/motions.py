"""What augmentation does to the places of pixels: each image of a batch cut, mirrored or turned by values of its own.

Images are [B, C, H, W] of any type. Nothing is drawn here.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

__all__ = ["crop", "flip", "move", "rotate"]


def crop(images: Tensor, tops: Tensor, lefts: Tensor, padding: int) -> Tensor:
    """Pad each side with `padding` zeros, then cut [H, W] at (tops[i], lefts[i]), int64 [B] in 0..2*padding."""
    batch, channels, height, width = images.shape
    padded_width = width + 2 * padding
    rows = tops[:, None] + torch.arange(height, device=images.device)
    columns = lefts[:, None] + torch.arange(width, device=images.device)
    source = (rows[:, :, None] * padded_width + columns[:, None, :]).view(batch, 1, height * width)
    padded = F.pad(images, (padding, padding, padding, padding)).flatten(2)
    return padded.gather(2, source.expand(-1, channels, -1)).view(images.shape)


def flip(images: Tensor, which: Tensor) -> Tensor:
    """Mirror left and right where which (bool [B]) is true."""
    return torch.where(which[:, None, None, None], images.flip(3), images)


def rotate(images: Tensor, degrees: Tensor) -> Tensor:
    """Turn image i counter-clockwise about its centre by degrees[i] (float [B]): nearest pixel, zeros outside."""
    height, width = images.shape[2:]
    angle = (degrees.to(torch.float32) * (math.pi / 180)).view(-1, 1, 1)
    cosine, sine = angle.cos(), angle.sin()
    down, right = _from_centre(height, images.device).view(1, -1, 1), _from_centre(width, images.device).view(1, 1, -1)
    rows = sine * right + cosine * down + (height - 1) / 2
    columns = cosine * right - sine * down + (width - 1) / 2
    return _taken(images, rows, columns)


def move(images: Tensor, degrees: Tensor, shear_x: Tensor, shear_y: Tensor, right: Tensor, down: Tensor) -> Tensor:
    """One of these for each image, the others 0: a turn as by `rotate`; a shear, which moves the pixel `y` below the
    top by -shear_x * y to the right, or the one `x` from the left by -shear_y * x down; whole pixels right or down.

    All are float [B]. As torchvision's affine and RandAugment: nearest pixel, zeros outside.
    """
    height, width = images.shape[2:]
    angle, tilt_x, tilt_y, across, below = (
        value.to(torch.float32).view(-1, 1, 1) for value in (degrees * (math.pi / 180), shear_x, shear_y, right, down)
    )
    cosine, sine = angle.cos(), angle.sin()
    ys, xs = _from_centre(height, images.device).view(1, -1, 1), _from_centre(width, images.device).view(1, 1, -1)
    rows = sine * xs + cosine * ys + tilt_y * (xs + width / 2) - below + (height - 1) / 2
    columns = cosine * xs - sine * ys + tilt_x * (ys + height / 2) - across + (width - 1) / 2
    return _taken(images, rows, columns)


def _from_centre(size: int, device: torch.device) -> Tensor:
    return torch.arange(size, device=device).sub((size - 1) / 2)


def _taken(images: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """The pixel nearest to (rows, columns), float [B, H, W], for each pixel; zeros from outside."""
    batch, channels, height, width = images.shape
    rows, columns = rows.round(), columns.round()
    inside = (rows >= 0) & (rows < height) & (columns >= 0) & (columns < width)
    source = rows.clamp(0, height - 1) * width + columns.clamp(0, width - 1)
    source = source.to(torch.int64).view(batch, 1, -1).expand(-1, channels, -1)
    turned = images.flatten(2).gather(2, source).view(images.shape)
    return turned * inside.unsqueeze(1)

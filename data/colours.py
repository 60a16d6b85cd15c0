"""What augmentation does to the values of pixels: torchvision's functions, on a batch with a value for each image.

Images are uint8 [B, C, H, W] of 1 or 3 channels, values float [B]. Nothing is drawn here, and no image depends on
another one.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

__all__ = ["autocontrast", "brightness", "contrast", "equalize", "hue", "posterize", "saturation", "sharpness",
           "solarize", "where"]  # fmt: skip


def where(images: Tensor, which: Tensor, function: Callable[..., Tensor], *values: Tensor) -> Tensor:
    """`images` [B, ...] with those where `which` (bool [B]) replaced by function(images, *values).

    On a GPU all are computed, as the host must not know which: a step may be a CUDA graph.
    """
    if images.is_cuda:
        return torch.where(which.view(-1, *[1] * (images.ndim - 1)), function(images, *values), images)
    rows = which.nonzero()[:, 0]
    if not len(rows):
        return images
    return images.index_copy(0, rows, function(images[rows], *(value[rows] for value in values)))


def brightness(images: Tensor, factors: Tensor) -> Tensor:
    """torchvision's adjust_brightness: 0 is black, 1 the image."""
    return _blend(images, torch.zeros_like(images), factors)


def contrast(images: Tensor, factors: Tensor) -> Tensor:
    """torchvision's adjust_contrast: 0 is the mean of its grey values, 1 the image."""
    return _blend(images, _grey(images).to(torch.float32).mean((1, 2, 3), keepdim=True), factors)


def saturation(images: Tensor, factors: Tensor) -> Tensor:
    """torchvision's adjust_saturation: 0 is grey, 1 the image."""
    return images if images.shape[1] == 1 else _blend(images, _grey(images), factors)


def sharpness(images: Tensor, factors: Tensor) -> Tensor:
    """torchvision's adjust_sharpness: 0 is smoothed, 1 the image; the outermost pixels stay."""
    height, width = images.shape[2:]
    if height <= 2 or width <= 2:
        return images
    wide = images.to(torch.int32)
    rows = wide[:, :, :-2] + wide[:, :, 1:-1] + wide[:, :, 2:]
    sums = rows[..., :-2] + rows[..., 1:-1] + rows[..., 2:] + 4 * wide[:, :, 1:-1, 1:-1]
    smooth = images.clone()
    smooth[:, :, 1:-1, 1:-1] = (sums / 13).round().to(torch.uint8)  # thirteenths: none lies between two whole numbers
    return _blend(images, smooth, factors)


def hue(images: Tensor, shifts: Tensor) -> Tensor:
    """torchvision's adjust_hue: by -0.5 to 0.5 of the colour circle."""
    if images.shape[1] == 1:
        return images
    colours = images.to(torch.float32) / 255
    largest, smallest = colours.amax(1), colours.amin(1)
    spread = largest - smallest
    grey = spread == 0
    red, green, blue = ((largest[:, None] - colours) / torch.where(grey, 1.0, spread)[:, None]).unbind(1)
    is_red, is_green = largest == colours[:, 0], largest == colours[:, 1]
    sixths = torch.where(is_red, blue - green, torch.where(is_green, 2 + red - blue, 4 + green - red))
    angle = (torch.fmod(sixths / 6 + 1, 1.0) + shifts.view(-1, 1, 1)) % 1.0
    return _from_hue(angle, spread / torch.where(grey, 1.0, largest), largest)


def posterize(images: Tensor, bits: Tensor) -> Tensor:
    """torchvision's posterize: the highest `bits` of each value; 8 is the image."""
    mask = (256 - 2 ** (8 - bits.to(torch.int64))).to(torch.uint8)
    return images & mask.view(-1, 1, 1, 1)


def solarize(images: Tensor, thresholds: Tensor) -> Tensor:
    """torchvision's solarize: values of at least the threshold become 255 less themselves."""
    return torch.where(images >= thresholds.view(-1, 1, 1, 1), 255 - images, images)


def autocontrast(images: Tensor) -> Tensor:
    """torchvision's autocontrast: each channel from 0 to 255."""
    low = images.amin((2, 3), keepdim=True).to(torch.float32)
    spread = images.amax((2, 3), keepdim=True).to(torch.float32) - low
    flat = spread == 0
    low, scale = torch.where(flat, 0.0, low), 255 / torch.where(flat, 255.0, spread)
    return ((images - low) * scale).clamp(0, 255).to(torch.uint8)


def equalize(images: Tensor) -> Tensor:
    """torchvision's equalize: the values of each channel as often as each other, as near as may be."""
    planes = images.flatten(2).flatten(0, 1).to(torch.int64)
    counts = torch.zeros(len(planes), 256, dtype=torch.int64, device=images.device)
    counts.scatter_add_(1, planes, torch.ones_like(planes))
    largest = counts.gather(1, planes.amax(1, keepdim=True))
    step = (planes.shape[1] - largest) // 255
    table = (counts.cumsum(1) + step // 2) // step.clamp_min(1)
    table = torch.cat([torch.zeros_like(table[:, :1]), table[:, :-1]], 1).clamp(0, 255)
    equal = torch.where(step == 0, planes, table.gather(1, planes))
    return equal.to(torch.uint8).view(images.shape)


def _blend(images: Tensor, others: Tensor, factors: Tensor) -> Tensor:
    factors = factors.view(-1, 1, 1, 1)
    own, rest = factors.to(torch.float32), (1 - factors.to(torch.float64)).to(torch.float32)  # as torchvision rounds
    return (own * images + rest * others).clamp(0, 255).to(torch.uint8)


def _grey(images: Tensor) -> Tensor:
    """uint8 [B, 1, H, W], rounded down as torchvision's rgb_to_grayscale."""
    if images.shape[1] == 1:
        return images
    red, green, blue = images.unbind(1)
    return (0.2989 * red + 0.587 * green + 0.114 * blue).to(torch.uint8)[:, None]


def _from_hue(angle: Tensor, depth: Tensor, value: Tensor) -> Tensor:
    """Hue, saturation and value, float [B, H, W] of 0..1, as uint8 [B, 3, H, W]."""
    sector = (angle * 6).floor()
    rest = angle * 6 - sector
    low, falling, rising = ((value * (1 - part)).clamp(0, 1) for part in (depth, depth * rest, depth * (1 - rest)))
    sectors = torch.stack([
        torch.stack([value, falling, low, low, rising, value], 1),
        torch.stack([rising, value, value, falling, low, low], 1),
        torch.stack([low, low, rising, value, value, falling], 1),
    ], 1)  # fmt: skip
    chosen = (sector.to(torch.int64) % 6)[:, None, None].expand(-1, 3, -1, -1, -1)
    return (sectors.gather(2, chosen)[:, :, 0] * (256 - 1e-3)).to(torch.uint8)

"""Elastic and affine distortion of whole batches: every image is read once, at places of its own between its pixels.

Where image i is read is one sum: an affine map of the place and a smooth displacement, both linear in a few numbers. So
places for the whole batch are two products of small matrices, and the images are read by one `grid_sample`. On a CPU
that costs about what turning alone costs (hpo.data.motions.rotate); nothing here waits for a GPU.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache
from typing import Any, TypeVar

import torch
from torch import Generator, Tensor
from torch.nn import functional as F

__all__ = ["affine_matrices", "random_warp", "roughness", "warp"]

T = TypeVar("T")

REACH = 3.0
"""Waves are kept as far as the blur leaves them exp(-REACH**2 / 2) of their height: what is left out is 0.01 % of the
variance."""


def random_warp(
    images: Tensor,
    generator: Generator,
    *,
    rotation: float = 0.0,
    zoom: float = 0.0,
    shear: float = 0.0,
    padding: int = 0,
    elastic: float = 0.0,
    sigma: float = 4.0,
) -> Tensor:
    """Images [B, C, H, W] of 0..255 in any type, each distorted by numbers of its own; of the same type, uint8 rounded.

    torchvision's RandomAffine(rotation, scale=(1 - zoom, 1 + zoom), shear=(-shear, shear) along both axes, bilinear),
    RandomCrop((H, W), padding) of that, and ElasticTransform, without reading the pixels three times. rotation, shear:
    degrees; elastic: pixels, the displacement's root mean square along each axis; sigma: pixels of its Gaussian blur.
    """
    batch, _, height, width = images.shape
    device, waves = images.device, None
    if elastic:
        heights = _heights(height, width, sigma, device)
        waves = torch.randn(batch, len(heights), 2, heights.shape[2], generator=generator, device=device)
        waves = waves * (elastic * heights)
    drawn = 2 * torch.rand(4, batch, generator=generator, device=device) - 1
    matrices = affine_matrices(rotation * drawn[0], 1 + zoom * drawn[1], shear * drawn[2], shear * drawn[3])
    moved = torch.zeros(batch, 2, 1, device=device)
    if padding:
        moved += torch.randint(-padding, padding + 1, (batch, 2, 1), generator=generator, device=device)
    return warp(images, matrices, (matrices @ moved).squeeze(2), waves)


def affine_matrices(degrees: Tensor, scale: Tensor, shear_x: Tensor, shear_y: Tensor) -> Tensor:
    """From a place of the result to one of the image, (right, down) from the centre: float [B, 2, 2].

    As torchvision's `affine` with these angles in degrees and this scale, float [B] each: a turn clockwise.
    """
    turn, tilt_x, tilt_y = (value * (math.pi / 180) for value in (degrees, shear_x, shear_y))
    along, across = (turn - tilt_y).cos() / tilt_y.cos(), (turn - tilt_y).sin() / tilt_y.cos()
    tilt = tilt_x.tan()
    rows = (-across * tilt + turn.cos(), along * tilt + turn.sin(), -across, along)
    return (torch.stack(rows, 1) / scale[:, None]).view(-1, 2, 2)


def warp(images: Tensor, matrices: Tensor, shift: Tensor, waves: Tensor | None = None) -> Tensor:
    """Image i [C, H, W] read at matrices[i] @ place + shift[i] + displacement: bilinear, zeros outside, the same type.

    Places are pixels (right, down) from the centre. matrices: float [B, 2, 2]; shift: float [B, 2]; waves: pixels
    [B, K, 2, L], how much of cos(pi * k * (y + 1/2) / H) * cos(pi * l * (x + 1/2) / W) the displacement has,
    right in [:, :, 0] and down in [:, :, 1]
    """
    batch, _, height, width = images.shape
    down, across = (waves.shape[1], waves.shape[3]) if waves is not None else (1, 1)
    # The first wave is 1 everywhere. Behind the last one is the place itself, which the matrices need.
    known = torch.zeros(batch, down + 1, 2, across + 1, device=images.device)
    if waves is not None:
        known[:, :down, :, :across] = waves
    known[:, 0, :, 0] += shift
    known[:, 0, :, across] = matrices[:, :, 0]
    known[:, down, :, 0] = matrices[:, :, 1]
    rows, columns = _axes(height, down, width, across, images.device)
    # [H, K] @ [B, K, 2L] @ [2L, 2W]: places in the order that grid_sample reads fastest
    grid = (rows @ known.view(batch, down + 1, -1)) @ columns
    read = F.grid_sample(images.to(torch.float32), grid.view(batch, height, width, 2), align_corners=False)
    return read if images.is_floating_point() else read.round_().to(images.dtype)


def roughness(size: int, sigma: float, device: torch.device) -> Tensor:
    """float [K]: how high each wave along an axis of `size` pixels is, in white noise after a Gaussian blur.

    The blur reflects at the borders, where cosines are its eigenvectors. Their mean square over the axis is 1.
    """
    count = min(size, math.ceil(REACH * size / (math.pi * sigma)))
    waves = torch.arange(count, device=device)
    heights = torch.exp(-0.5 * (waves * (math.pi * sigma / size)) ** 2)
    return torch.where(waves == 0, 1.0, math.sqrt(2.0)) * heights / heights.square().sum().sqrt()


def _kept_on_a_cpu(compute: Callable[..., T]) -> Callable[..., T]:
    """`compute(..., device)`, once for the same arguments on a CPU.

    On a GPU it is computed anew, a few small kernels, so that a recorded step owns what it reads.
    """
    kept = lru_cache(maxsize=16)(compute)

    def found(*arguments: Any) -> T:
        return (kept if arguments[-1].type == "cpu" else compute)(*arguments)

    return found


@_kept_on_a_cpu
def _heights(height: int, width: int, sigma: float, device: torch.device) -> Tensor:
    """float [K, 1, L]: the wave heights of both axes."""
    return (roughness(height, sigma, device)[:, None] * roughness(width, sigma, device)).unsqueeze(1)


@_kept_on_a_cpu
def _axes(height: int, down: int, width: int, across: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """(float [H, down + 1], float [2 * (across + 1), 2 * W]): what waves and place are at each row and each column.

    The second has right and down side by side, each in units of half the image.
    """
    axis = _axis(width, across, device)
    both = torch.zeros(2, len(axis), width, 2, device=device)
    both[0, :, :, 0] = axis * (2 / width)
    both[1, :, :, 1] = axis * (2 / height)
    return _axis(height, down, device).T.contiguous(), both.view(2 * len(axis), 2 * width)


def _axis(size: int, waves: int, device: torch.device) -> Tensor:
    """float [waves + 1, size]: cosines, then the pixel's place from the centre."""
    places = torch.arange(size, device=device) + 0.5
    cosines = torch.cos(torch.arange(waves, device=device)[:, None] * (places * (math.pi / size)))
    return torch.cat([cosines, (places - size / 2)[None]])

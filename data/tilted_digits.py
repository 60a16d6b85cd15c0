"""scikit-learn's bundled digits, each turned by a known angle, which is to be found again: for regression."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from hpo.data import digits
from hpo.data.files import Folders, RawImages, Split, cached

__all__ = ["load"]

MOST = math.pi / 4
SIDE = 16


def load(split: Split, folders: Folders) -> RawImages:
    """1,437 train and 360 test images [1, 16, 16], and the angle of each in radians, float32 [N, 1] within +-pi/4."""
    return cached("tilted_digits", split, f"1 {digits.SHA256}", folders, lambda: _tilted(split, folders))


def _tilted(split: Split, folders: Folders) -> tuple[Tensor, Tensor]:
    upright = digits.load(split, folders).images.to(torch.float32)
    random = torch.Generator().manual_seed({"train": 1, "test": 2}[split])
    angles = (2 * torch.rand(len(upright), generator=random) - 1) * MOST
    cosine, sine, nothing = angles.cos(), angles.sin(), torch.zeros_like(angles)
    turns = torch.stack([cosine, -sine, nothing, sine, cosine, nothing], dim=1).view(-1, 2, 3)
    # 1.4: a corner of a turned image stays inside
    grid = torch.nn.functional.affine_grid(1.4 * turns, [len(upright), 1, SIDE, SIDE], align_corners=False)
    images = torch.nn.functional.grid_sample(upright, grid, align_corners=False)
    return images.round().clamp(0, 255).to(torch.uint8), angles.unsqueeze(1)

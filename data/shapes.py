"""Made-up images of discs and bars on a noisy ground, with a mask for each: for segmentation without a download.

Everything is drawn by a seeded generator: the same images every time, on every machine.
"""

from __future__ import annotations

import torch
from torch import Tensor

from hpo.data.files import Folders, RawImages, Split, cached
from hpo.data.targets import IGNORED

__all__ = ["SIDE", "drawn", "load"]

SIDE = 32
IMAGES = {"train": 400, "test": 100}
_SEEDS = {"train": 1, "test": 2}


def load(split: Split, folders: Folders) -> RawImages:
    """400 train and 100 test images [1, 32, 32]; masks uint8 [N, 32, 32]: 0 ground, 1 disc, 2 bar, 255 outlines."""
    return cached("shapes", split, "1", folders, lambda: drawn(IMAGES[split], _SEEDS[split]))


def drawn(count: int, seed: int) -> tuple[Tensor, Tensor]:
    """(images uint8 [count, 1, 32, 32], masks uint8 [count, 32, 32]): a disc and then a bar on each, which may overlap.

    The pixel of the outline belongs to neither side, as in hand-drawn masks: it is 255, which no loss or score counts.
    """
    random = torch.Generator().manual_seed(seed)

    def between(low: float, high: float) -> Tensor:
        return low + (high - low) * torch.rand(count, 1, 1, generator=random)

    rows = torch.arange(SIDE).view(1, SIDE, 1)
    columns = torch.arange(SIDE).view(1, 1, SIDE)
    radius = between(4, 8)
    away = ((rows - between(8, 24)) ** 2 + (columns - between(8, 24)) ** 2).sqrt() - radius
    high, wide = between(2, 4), between(6, 12)
    beyond = torch.maximum((rows - between(6, 26)).abs() - high, (columns - between(8, 24)).abs() - wide)
    images = between(0.1, 0.3).expand(count, SIDE, SIDE).clone()
    masks = torch.zeros(count, SIDE, SIDE, dtype=torch.uint8)
    for label, outside in enumerate((away, beyond), start=1):
        images = torch.where(outside <= 0, between(0.5, 0.9), images)
        masks[outside <= 0] = label
        masks[(outside > 0) & (outside <= 1)] = IGNORED
    noisy = (images + 0.1 * torch.randn(count, SIDE, SIDE, generator=random)).clamp(0, 1)
    return (noisy * 255).to(torch.uint8).unsqueeze(1), masks

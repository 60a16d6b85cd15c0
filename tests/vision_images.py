"""Pictures that stand in for CIFAR-10 and Fashion-MNIST where their files are not at hand."""

from __future__ import annotations

import torch

from hpo.data.files import Folders, RawImages, checksum


def load_colour(split: str, folders: Folders) -> RawImages:
    """[3, 32, 32], 2,500 to train and 500 to test."""
    return _images(split, (3, 32, 32))


def load_grey(split: str, folders: Folders) -> RawImages:
    """[1, 28, 28], 2,500 to train and 500 to test."""
    return _images(split, (1, 28, 28))


def _images(split: str, shape: tuple[int, int, int]) -> RawImages:
    """Noise whose brightness tells the class."""
    count = {"train": 2_500, "test": 500}[split]
    random = torch.Generator().manual_seed(count)
    labels = torch.arange(count) % 10
    noise = torch.randint(0, 40, (count, *shape), generator=random)
    images = (noise + 20 * labels.view(-1, 1, 1, 1)).to(torch.uint8)
    return RawImages(images, labels, checksum(images, labels))

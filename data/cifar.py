"""CIFAR-10: images uint8 [N, 3, 32, 32] from the Python batches."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from hpo.data.files import Folders, RawImages, Split, cached
from hpo.data.source import SourceFile, read_sources, version_of

__all__ = ["CIFAR10_FILES", "load"]

# The MD5 are torchvision's (CIFAR10.train_list, CIFAR10.test_list; a test compares).
CIFAR10_FILES: dict[Split, tuple[SourceFile, ...]] = {
    "train": (
        SourceFile("cifar-10-batches-py/data_batch_1", "c99cafc152244af753f735de768cd75f"),
        SourceFile("cifar-10-batches-py/data_batch_2", "d4bba439e000b95fd0a9bffe97cbabec"),
        SourceFile("cifar-10-batches-py/data_batch_3", "54ebc095f3ab1f0389bbae665268c751"),
        SourceFile("cifar-10-batches-py/data_batch_4", "634d18415352ddfa80567beed471001a"),
        SourceFile("cifar-10-batches-py/data_batch_5", "482c414d41f54cd18b22e5b47cb7c3cb"),
    ),
    "test": (SourceFile("cifar-10-batches-py/test_batch", "40351d587109b95175f43aff81a1287e"),),
}


def load(split: Split, folders: Folders) -> RawImages:
    """CIFAR-10, 50,000 train and 10,000 test images. Raises DataError for missing or altered files."""
    files = CIFAR10_FILES[split]

    def decode() -> tuple[Tensor, Tensor]:
        batches = [_batch(content) for content in read_sources("cifar10", files, folders, _download)]
        return torch.cat([images for images, _ in batches]), torch.cat([labels for _, labels in batches])

    return cached("cifar10", split, version_of(files), folders, decode)


def _batch(content: bytes) -> tuple[Tensor, Tensor]:
    """One batch file. A pickle can run code: `content` has passed its checksum in read_sources, byte for byte."""
    entry = pickle.loads(content, encoding="latin1")
    images = np.asarray(entry["data"], dtype=np.uint8).reshape(-1, 3, 32, 32)
    return torch.from_numpy(images.copy()), torch.tensor(entry["labels"], dtype=torch.int64)


def _download(cache: Path) -> None:
    """One archive holds both splits; only the wanted split's files are read afterwards."""
    from torchvision.datasets import CIFAR10
    from torchvision.datasets.utils import download_and_extract_archive

    download_and_extract_archive(CIFAR10.url, str(cache), filename=CIFAR10.filename, md5=CIFAR10.tgz_md5)

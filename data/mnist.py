"""MNIST and Fashion-MNIST: images uint8 [N, 1, 28, 28] from the four idx files of each."""

from __future__ import annotations

import math
import struct
from pathlib import Path

import torch
from torch import Tensor

from hpo.data.files import Folders, RawImages, Split, cached
from hpo.data.source import SourceFile, read_sources, version_of
from hpo.errors import DataError

__all__ = ["FASHION_MNIST_FILES", "MNIST_FILES", "load_fashion_mnist", "load_mnist"]

# (images, labels) of each split. The MD5 of the .gz are torchvision's (MNIST.resources, a test compares); those of
# the unpacked files were taken from the verified .gz.
MNIST_FILES: dict[Split, tuple[SourceFile, SourceFile]] = {
    "train": (
        SourceFile(
            "MNIST/raw/train-images-idx3-ubyte.gz",
            "f68b3c2dcbeaaa9fbdd348bbdeb94873",
            "6bbc9ace898e44ae57da46a324031adb",
        ),
        SourceFile(
            "MNIST/raw/train-labels-idx1-ubyte.gz",
            "d53e105ee54ea40749a09fcbcd1e9432",
            "a25bea736e30d166cdddb491f175f624",
        ),
    ),
    "test": (
        SourceFile(
            "MNIST/raw/t10k-images-idx3-ubyte.gz",
            "9fb629c4189551a2d022fa330f9573f3",
            "2646ac647ad5339dbf082846283269ea",
        ),
        SourceFile(
            "MNIST/raw/t10k-labels-idx1-ubyte.gz",
            "ec29112dd5afa0611ce80d1b7f02629c",
            "27ae3e4e09519cfbb04c329615203637",
        ),
    ),
}
FASHION_MNIST_FILES: dict[Split, tuple[SourceFile, SourceFile]] = {
    "train": (
        SourceFile(
            "FashionMNIST/raw/train-images-idx3-ubyte.gz",
            "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
            "f4a8712d7a061bf5bd6d2ca38dc4d50a",
        ),
        SourceFile(
            "FashionMNIST/raw/train-labels-idx1-ubyte.gz",
            "25c81989df183df01b3e8a0aad5dffbe",
            "9018921c3c673c538a1fc5bad174d6f9",
        ),
    ),
    "test": (
        SourceFile(
            "FashionMNIST/raw/t10k-images-idx3-ubyte.gz",
            "bef4ecab320f06d8554ea6380940ec79",
            "8181f5470baa50b63fa0f6fddb340f0a",
        ),
        SourceFile(
            "FashionMNIST/raw/t10k-labels-idx1-ubyte.gz",
            "bb300cfdad3c16e7a12a480ee83cd310",
            "15d484375f8d13e6eb1aabb0c3f46965",
        ),
    ),
}


def load_mnist(split: Split, folders: Folders) -> RawImages:
    """MNIST, 60,000 train and 10,000 test images. Raises DataError for missing or altered files."""
    return _load("mnist", MNIST_FILES[split], split, folders)


def load_fashion_mnist(split: Split, folders: Folders) -> RawImages:
    """Fashion-MNIST, 60,000 train and 10,000 test images. Raises DataError for missing or altered files."""
    return _load("fashion_mnist", FASHION_MNIST_FILES[split], split, folders)


def _load(name: str, files: tuple[SourceFile, SourceFile], split: Split, folders: Folders) -> RawImages:
    def decode() -> tuple[Tensor, Tensor]:
        images, labels = read_sources(name, files, folders, lambda cache: _download(name, files, cache))
        return _idx(images, files[0].path).unsqueeze(1), _idx(labels, files[1].path).to(torch.int64)

    return cached(name, split, version_of(files), folders, decode)


def _idx(content: bytes, path: str) -> Tensor:
    """An idx file of unsigned bytes: two zero bytes, type 8, rank, each size as a big-endian int32, the values."""
    rank = content[3] if content[:3] == b"\0\0\x08" else 0
    sizes = struct.unpack_from(f">{rank}i", content, 4) if rank and len(content) > 4 * rank else ()
    start = 4 * (1 + len(sizes))
    if not sizes or len(content) != start + math.prod(sizes):
        raise DataError(f"{path} is not an idx file of unsigned bytes", evidence=[f"it begins with {content[:16]!r}"])
    return torch.frombuffer(bytearray(content[start:]), dtype=torch.uint8).reshape(sizes)


def _download(name: str, files: tuple[SourceFile, SourceFile], cache: Path) -> None:
    """Only this split's files, by torchvision's mirrors and checks."""
    from torchvision.datasets import MNIST, FashionMNIST
    from torchvision.datasets.utils import download_url

    mirrors = {"mnist": MNIST.mirrors, "fashion_mnist": FashionMNIST.mirrors}[name]
    for file in files:
        target = cache / file.path
        for last, mirror in zip([*[False] * (len(mirrors) - 1), True], mirrors, strict=True):
            try:
                download_url(mirror + target.name, str(target.parent), target.name, file.md5)
                break
            except (OSError, RuntimeError):
                if last:
                    raise

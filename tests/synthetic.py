"""Models and a data set for tests, named in jobs as "synthetic:..." (this folder is on sys.path under pytest)."""

from __future__ import annotations

import importlib
import random
from pathlib import Path

import numpy as np
import psutil
import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from hpo.data import Samples
from hpo.data import Tensor as Numbers
from hpo.data.files import Folders, RawImages, checksum
from hpo.errors import DataError

SHAPE = (1, 28, 28)


def load(split: str, folders: Folders) -> RawImages:
    """200 train and 50 test images [1, 28, 28] whose brightness tells the class."""
    count = {"train": 200, "test": 50}[split]
    generator = torch.Generator().manual_seed(count)
    labels = torch.arange(count) % 10
    noise = torch.randint(0, 40, (count, *SHAPE), generator=generator)
    images = (noise + 20 * labels.view(-1, 1, 1, 1)).to(torch.uint8)
    return RawImages(images, labels, checksum(images, labels))


def load_without_test(split: str, folders: Folders) -> RawImages:
    assert split == "train", "the test split was opened"
    return load(split, folders)


TENSORS = {"values": Numbers(5, normalise=True), "tokens": Numbers(4, dtype="int64", below=10)}


def load_tensors(split: str, folders: Folders) -> Samples:
    """200 train and 50 test samples of two kinds of inputs, in groups of four."""
    count = {"train": 200, "test": 50}[split]
    generator = torch.Generator().manual_seed(count)
    labels = torch.arange(count) % 10
    values = torch.randn(count, 5, generator=generator) + labels.view(-1, 1)
    tokens = (labels.view(-1, 1) + torch.randint(0, 2, (count, 4), generator=generator)) % 10
    return Samples({"values": values, "tokens": tokens}, labels, groups=torch.arange(count) // 4)


class Pictures(Dataset[tuple[Tensor, int]]):
    """The images of `load` as float32 [1, 28, 28], one by one; with `noisy`, of three generators' noise."""

    def __init__(self, split: str, *, noisy: bool) -> None:
        raw = load(split, Folders(None, Path()))
        self.images, self.targets, self.noisy = raw.images / 255, raw.labels, noisy

    def __len__(self) -> int:
        return len(self.targets)

    def __getitem__(self, number: int) -> tuple[Tensor, int]:
        noise = torch.rand(1).item() + random.random() + np.random.rand() if self.noisy else 0.0
        return self.images[number] + 0.1 * noise, int(self.targets[number])


def datasets(split: str, folders: Folders, training: bool) -> Pictures:
    return Pictures(split, noisy=training)


class TwoInputs(nn.Module):
    def __init__(self, classes: int) -> None:
        super().__init__()
        self.tokens = nn.Embedding(10, 8)
        self.values = nn.Sequential(nn.Linear(5, 8), nn.BatchNorm1d(8), nn.Dropout(0.2))
        self.out = nn.Linear(8, classes)

    def forward(self, inputs: dict[str, Tensor]) -> Tensor:
        return self.out(self.tokens(inputs["tokens"]).mean(1) + self.values(inputs["values"]))


def two_inputs(shape: dict[str, tuple[int, ...]], classes: int, **parameters: object) -> nn.Module:
    return TwoInputs(classes)


class Breaking(nn.Module):
    """A linear model whose forward pass raises what the test put into `error`."""

    error: BaseException = RuntimeError("boom")

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(64, 10)

    def forward(self, images: Tensor) -> Tensor:
        if images.device.type != "meta":
            raise self.error
        return self.linear(images.flatten(1))


def breaking(shape: tuple[int, ...], classes: int, **parameters: object) -> nn.Module:
    return Breaking()


class Chatty(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(64, 10)

    def forward(self, images: Tensor) -> Tensor:
        print("a print in a user's model")
        return self.linear(images.flatten(1))


def chatty(shape: tuple[int, ...], classes: int, **parameters: object) -> nn.Module:
    return Chatty()


def out_of_memory(shape: tuple[int, ...], classes: int, **parameters: object) -> nn.Module:
    raise RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 1 bytes")


def normed(shape: tuple[int, int, int], classes: int, **parameters: object) -> nn.Module:
    """Convolution, batch norm, dropout: everything that has state beyond weights."""
    return nn.Sequential(
        nn.Conv2d(shape[0], 8, 3, padding=1),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(4),
        nn.Flatten(),
        nn.Dropout(0.2),
        nn.Linear(128, classes),
    )


class Overconfident(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(64, 10)

    def forward(self, images: Tensor) -> Tensor:
        return 30.0 * self.linear(images.flatten(1))


def overconfident(shape: tuple[int, ...], classes: int, **parameters: object) -> nn.Module:
    return Overconfident()


def leaving(shape: tuple[int, ...], classes: int, **parameters: object) -> nn.Module:
    raise SystemExit(3)


class Circular(nn.Module):
    """A linear model that holds itself, and 16 MB."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(64, 10)
        self.held = [self, torch.ones(4 << 20)]

    def forward(self, images: Tensor) -> Tensor:
        return self.linear(images.flatten(1))


def circular(shape: tuple[int, ...], classes: int, **parameters: object) -> nn.Module:
    return Circular()


KEPT: list[bytearray] = []
"""Blocks that lie above what `crumbling` frees, so that the end of the heap cannot be cut off."""


def crumbling(shape: tuple[int, ...], classes: int, **parameters: object) -> nn.Module:
    """Frees 200 MB in small pieces and prints the size that the process has then, in bytes."""
    importlib.import_module("torch._dynamo")  # as the first step of the next model does: it is no part of the pieces
    pieces = [bytearray(64 << 10) for _ in range(3200)]
    KEPT.append(pieces.pop())
    del pieces
    print("crumbled:", psutil.Process().memory_info().rss)
    return nn.Sequential(nn.Flatten(), nn.Linear(64, classes))


def load_nothing(split: str, folders: Folders) -> RawImages:
    raise DataError("no such files", next="look for them")


def asserting(shape: tuple[int, ...], classes: int, **parameters: object) -> nn.Module:
    raise RuntimeError("CUDA error: device-side assert triggered\nCUDA kernel errors might be reported later")


def on_a_broken_device(shape: tuple[int, ...], classes: int, **parameters: object) -> nn.Module:
    raise RuntimeError("CUDA error: uncorrectable ECC error encountered")

"""One process of one side of benchmarks.loaders; speaks as benchmarks.training_arm does, "config" names the samples.

hpo      the trainer's own step, on what a study's Torch(...) names
script   a shuffled DataLoader, `zero_grad`, `backward`, `step`
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset
from torchvision import datasets as folders
from torchvision.transforms import v2

from benchmarks.training_arm import serve, steps_of
from hpo.data import Tensor, Torch
from hpo.data.files import Folders
from hpo.messages import Job, Protocol
from hpo.training.configuration import Recipe
from hpo.training.device import open_device
from hpo.training.train_state import TrainState
from hpo.training.train_val_split import DataCache

BATCH, WORKERS, CLASSES = 64, 2, ("0", "1")
MADE, IN_MEMORY = 100_000, 256


class Made(Dataset[tuple[torch.Tensor, int]]):
    """Samples that cost next to nothing, and would take 4.9 GB together."""

    def __init__(self) -> None:
        self.images = torch.randn(IN_MEMORY, 3, 64, 64)
        self.targets = [number % 2 for number in range(MADE)]

    def __len__(self) -> int:
        return MADE

    def __getitem__(self, number: int) -> tuple[torch.Tensor, int]:
        return self.images[number % IN_MEMORY], self.targets[number]


def tensors(split: str, place: Folders, training: bool) -> Dataset[Any]:
    return Made()


def photographs(split: str, place: Folders, training: bool) -> Dataset[Any]:
    steps = [v2.PILToTensor(), v2.RandomResizedCrop(64, antialias=True), v2.RandomHorizontalFlip()]
    root = place.source or Path()
    return folders.ImageFolder(str(root), v2.Compose([*steps, v2.ToDtype(torch.float32, scale=True)]))


def build(shape: tuple[int, ...], classes: int) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, stride=2), nn.ReLU(), nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Linear(128, classes)
    )


class Ours:
    def __init__(self, root: Path) -> None:
        self._device = open_device("cpu")
        self._data = DataCache(Folders(root, Path(os.devnull)), self._device)

    def begin(self, config: dict[str, Any]) -> Iterator[int]:
        job = _job(config["samples"])
        state = TrainState(job, Recipe.read(job.config), self._data.parts(job), self._device, fold=0)
        yield from steps_of(state)

    def trial(self, config: dict[str, Any]) -> float:
        raise NotImplementedError


class Script:
    def __init__(self, root: Path) -> None:
        self._place = Folders(root, Path(os.devnull))

    def begin(self, config: dict[str, Any]) -> Iterator[int]:
        samples = {"tensors": tensors, "photographs": photographs}[config["samples"]]("train", self._place, True)
        loader = DataLoader(samples, BATCH, shuffle=True, num_workers=WORKERS, persistent_workers=True)
        network = build((3, 64, 64), len(CLASSES))
        optimizer = torch.optim.SGD(network.parameters(), lr=0.01)
        while True:
            for images, labels in loader:
                optimizer.zero_grad()
                F.cross_entropy(network(images), labels).backward()
                optimizer.step()
                yield len(labels)

    def trial(self, config: dict[str, Any]) -> float:
        raise NotImplementedError


def _job(samples: str) -> Job:
    dataset = Torch(f"benchmarks.loader_arm:{samples}", Tensor(3, 64, 64), CLASSES, workers=WORKERS)
    protocol = Protocol(epochs=1, objectives=("val_accuracy",), validation=dataset.validation)
    config = {"batch_size": BATCH, "lr": 0.01, "optimizer": "sgd"}
    described = {"builder": "benchmarks.loader_arm:build", "reads": []}
    return Job(0, 0, config, protocol, described, dataset.for_trainer(samples), seed=0)


def main() -> None:
    name, threads, root = sys.argv[1], int(sys.argv[2]), Path(sys.argv[3])
    torch.set_num_threads(threads)
    serve(Ours(root) if name == "hpo" else Script(root))


if __name__ == "__main__":
    main()

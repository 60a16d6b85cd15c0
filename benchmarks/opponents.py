"""Training MNIST models as people write it, for benchmarks.training to compare with.

DatasetScript   torchvision's Dataset with ToTensor and Normalize, DataLoader, default optimizer, `.item()` each step
TensorScript    the same over a TensorDataset of images normalised beforehand
PlainRemedies   tensors in memory, batches by index, fused optimizer, denormals flushed, one read of the loss per epoch
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, Subset, TensorDataset
from torchvision import datasets, transforms

__all__ = ["SCRIPTS", "DatasetScript", "PlainRemedies", "TensorScript", "build"]

MEAN, STD = 0.1307, 0.3081
Batches = Iterable[tuple[Tensor, Tensor]]


class LeNet(nn.Module):
    """LeNet-5 in the usual order: convolution, ReLU, pooling."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 6, 5, padding=2)
        self.conv2 = nn.Conv2d(6, 16, 5)
        self.fc1 = nn.Linear(400, 120)
        self.fc2 = nn.Linear(120, 84)
        self.fc3 = nn.Linear(84, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = F.max_pool2d(F.relu(self.conv1(x)), 2)
        x = F.max_pool2d(F.relu(self.conv2(x)), 2)
        x = F.relu(self.fc1(x.flatten(1)))
        x = F.relu(self.fc2(x))
        out: Tensor = self.fc3(x)
        return out


def build(hidden_units: Sequence[int] | None) -> nn.Module:
    """A perceptron with these hidden layers; None: LeNet-5."""
    if hidden_units is None:
        return LeNet()
    layers: list[nn.Module] = [nn.Flatten()]
    inputs = 784
    for units in hidden_units:
        layers += [nn.Linear(inputs, units), nn.ReLU()]
        inputs = units
    return nn.Sequential(*layers, nn.Linear(inputs, 10))


class DatasetScript:
    """One configuration; `train_forever` gives the number of images after each step.

    train, validation: positions in MNIST's train split.
    """

    def __init__(self, config: dict[str, Any], root: Path, train: Tensor, validation: Tensor) -> None:
        torch.manual_seed(0)
        self.config = config
        self.model = build(config["hidden_units"])
        self.optimizer = self.make_optimizer()
        self.prepare(root, train, validation)

    def make_optimizer(self) -> torch.optim.Optimizer:
        kind = {"adam": torch.optim.Adam, "sgd": torch.optim.SGD}[self.config["optimizer"]]
        return kind(self.model.parameters(), lr=self.config["lr"])

    def dataset(self, root: Path) -> Dataset[tuple[Tensor, Tensor]]:
        transform = transforms.Compose([transforms.ToTensor(), transforms.Normalize((MEAN,), (STD,))])
        images: Dataset[tuple[Tensor, Tensor]] = datasets.MNIST(str(root), train=True, transform=transform)
        return images

    def prepare(self, root: Path, train: Tensor, validation: Tensor) -> None:
        images = self.dataset(root)
        size = self.config["batch_size"]
        self.train_batches: Batches = DataLoader(Subset(images, train.tolist()), batch_size=size, shuffle=True)
        self.validation_batches: Batches = DataLoader(Subset(images, validation.tolist()), batch_size=size)

    def epoch(self) -> Iterator[int]:
        self.model.train()
        running_loss = 0.0
        for images, labels in self.train_batches:
            self.optimizer.zero_grad()
            loss = F.cross_entropy(self.model(images), labels)
            loss.backward()
            self.optimizer.step()
            running_loss += loss.item()
            yield len(labels)

    def train_forever(self) -> Iterator[int]:
        while True:
            yield from self.epoch()

    def validate(self) -> float:
        self.model.eval()
        right = seen = 0
        with torch.no_grad():
            for images, labels in self.validation_batches:
                right += (self.model(images).argmax(1) == labels).sum().item()
                seen += len(labels)
        return right / seen


_TENSORS: dict[Path, tuple[Tensor, Tensor]] = {}


def tensors(root: Path) -> tuple[Tensor, Tensor]:
    """(normalised images [60000, 1, 28, 28], labels [60000]), made once per process."""
    if root not in _TENSORS:
        raw = datasets.MNIST(str(root), train=True)
        _TENSORS[root] = ((raw.data.unsqueeze(1) / 255.0 - MEAN) / STD, raw.targets)
    return _TENSORS[root]


class TensorScript(DatasetScript):
    def dataset(self, root: Path) -> Dataset[tuple[Tensor, Tensor]]:
        images: Any = TensorDataset(*tensors(root))
        return images


class PlainRemedies(DatasetScript):
    """What an expert gets from torch without writing kernels."""

    def make_optimizer(self) -> torch.optim.Optimizer:
        torch.set_flush_denormal(True)
        kind = {"adam": torch.optim.Adam, "sgd": torch.optim.SGD}[self.config["optimizer"]]
        return kind(self.model.parameters(), lr=self.config["lr"], fused=True)

    def prepare(self, root: Path, train: Tensor, validation: Tensor) -> None:
        self.images, self.labels = tensors(root)
        self.train, self.validation = train, validation

    def epoch(self) -> Iterator[int]:
        self.model.train()
        running_loss = torch.zeros(())
        for index in self.train[torch.randperm(len(self.train))].split(self.config["batch_size"]):
            self.optimizer.zero_grad()
            loss = F.cross_entropy(self.model(self.images[index]), self.labels[index])
            loss.backward()
            self.optimizer.step()
            running_loss += loss.detach()
            yield len(index)

    def validate(self) -> float:
        self.model.eval()
        right = torch.zeros((), dtype=torch.int64)
        with torch.no_grad():
            for index in self.validation.split(512):
                right += (self.model(self.images[index]).argmax(1) == self.labels[index]).sum()
        return right.item() / len(self.validation)


SCRIPTS: dict[str, type[DatasetScript]] = {
    "dataset": DatasetScript,
    "tensors": TensorScript,
    "two tensors": TensorScript,
    "remedies": PlainRemedies,
}

"""Fashion-MNIST with a small convolutional network, whose trials go on where they were cut short."""

import os

import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset, TensorDataset, random_split
from torchvision.datasets import FashionMNIST

from hpo import Float, Int, Run, Study


def load(train: bool) -> Dataset:
    """Images float [N, 1, 28, 28] between 0 and 1, labels int64 [N]."""
    raw = FashionMNIST(os.environ.get("HPO_DATA_DIR", "data"), train=train, download=True)
    return TensorDataset(raw.data.unsqueeze(1) / 255, raw.targets)


def split() -> list[Dataset]:
    """Five sixths of the training images to train on, and the others to judge by: the same ones every time."""
    return random_split(load(train=True), [5 / 6, 1 / 6], torch.Generator().manual_seed(0))


def build(width: int, dropout: float) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, width, 5, stride=2),
        nn.ReLU(),
        nn.Conv2d(width, 2 * width, 5, stride=2),
        nn.ReLU(),
        nn.Flatten(),
        nn.Dropout(dropout),
        nn.Linear(32 * width, 10),
    )


def train_epoch(network: nn.Module, loader: DataLoader, optimizer: torch.optim.Optimizer) -> None:
    network.train()
    for images, labels in loader:
        optimizer.zero_grad()
        nn.functional.cross_entropy(network(images), labels).backward()
        optimizer.step()


def accuracy_of(network: nn.Module, data: Dataset) -> float:
    network.eval()
    with torch.no_grad():
        right = sum((network(images).argmax(1) == labels).sum().item() for images, labels in DataLoader(data, 1000))
    return right / len(data)


def fit(run: Run, training: Dataset, validation: Dataset | None = None) -> nn.Module:
    network = build(run.params["width"], run.params["dropout"])
    optimizer = torch.optim.Adam(network.parameters(), lr=run.params["lr"])
    loader = run.loader(training, batch_size=128, shuffle=True)
    run.resume(network=network, optimizer=optimizer)
    for _ in run.epochs():
        train_epoch(network, loader, optimizer)
        if validation:
            run.report(val_accuracy=accuracy_of(network, validation))
    return network


def train(run: Run) -> None:
    fit(run, *split())


def final(run: Run) -> dict[str, float]:
    return {"test_accuracy": accuracy_of(fit(run, load(train=True)), load(train=False))}


study = Study(
    name="resumed",
    train=train,
    final=final,
    objective="val_accuracy",
    direction="maximize",
    epochs=3,
    space={"width": Int(4, 32, log=True), "dropout": Float(0.0, 0.5), "lr": Float(1e-4, 1e-1, log=True)},
    baseline={"width": 16, "dropout": 0.2, "lr": 1e-3},
)

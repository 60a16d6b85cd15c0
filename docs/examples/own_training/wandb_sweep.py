"""Fashion-MNIST with a small convolutional network, searched with a W&B sweep."""

import os

import torch
import wandb
from torch import nn
from torch.utils.data import DataLoader, Dataset, TensorDataset, random_split
from torchvision.datasets import FashionMNIST

EPOCHS = 3


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


def train() -> None:
    run = wandb.init()
    training, validation = split()
    network = build(run.config["width"], run.config["dropout"])
    optimizer = torch.optim.Adam(network.parameters(), lr=run.config["lr"])
    loader = DataLoader(training, batch_size=128, shuffle=True)
    for _ in range(EPOCHS):
        train_epoch(network, loader, optimizer)
        run.log({"val_accuracy": accuracy_of(network, validation)})


if __name__ == "__main__":
    sweep = {
        "method": "bayes",
        "metric": {"name": "val_accuracy", "goal": "maximize"},
        "parameters": {
            "width": {"distribution": "q_log_uniform_values", "min": 4, "max": 32},
            "dropout": {"min": 0.0, "max": 0.5},
            "lr": {"distribution": "log_uniform_values", "min": 1e-4, "max": 1e-1},
        },
        "early_terminate": {"type": "hyperband", "min_iter": 1},
    }
    wandb.agent(wandb.sweep(sweep, project="fashion"), function=train, count=2)

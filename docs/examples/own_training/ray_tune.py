"""Fashion-MNIST with a small convolutional network, searched with Ray Tune."""

import os
import tempfile

import torch
from ray import tune
from ray.tune.schedulers import ASHAScheduler
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


def train(config: dict[str, float]) -> None:
    training, validation = split()
    network = build(config["width"], config["dropout"])
    optimizer = torch.optim.Adam(network.parameters(), lr=config["lr"])
    loader = DataLoader(training, batch_size=128, shuffle=True)
    first = 0
    if checkpoint := tune.get_checkpoint():
        with checkpoint.as_directory() as folder:
            state = torch.load(f"{folder}/state.pt")
        network.load_state_dict(state["network"])
        optimizer.load_state_dict(state["optimizer"])
        first = state["epoch"] + 1
    for epoch in range(first, EPOCHS):
        train_epoch(network, loader, optimizer)
        metrics = {"val_accuracy": accuracy_of(network, validation)}
        with tempfile.TemporaryDirectory() as folder:
            state = {"network": network.state_dict(), "optimizer": optimizer.state_dict(), "epoch": epoch}
            torch.save(state, f"{folder}/state.pt")
            tune.report(metrics, checkpoint=tune.Checkpoint.from_directory(folder))


if __name__ == "__main__":
    space = {
        "width": tune.lograndint(4, 33),
        "dropout": tune.uniform(0.0, 0.5),
        "lr": tune.loguniform(1e-4, 1e-1),
    }
    searched = os.path.abspath("ray_results/fashion")
    if tune.Tuner.can_restore(searched):
        tuner = tune.Tuner.restore(searched, train, resume_unfinished=True, restart_errored=True)
    else:
        tuner = tune.Tuner(
            train,
            param_space=space,
            tune_config=tune.TuneConfig(
                metric="val_accuracy", mode="max", num_samples=2, scheduler=ASHAScheduler(max_t=EPOCHS)
            ),
            run_config=tune.RunConfig(name="fashion", storage_path=os.path.abspath("ray_results")),
        )
    best = tuner.fit().get_best_result()
    print(best.metrics["val_accuracy"], best.config)

"""Fashion-MNIST with a small convolutional network, in Lightning's loop: trials go on where they were cut short."""

import os

import torch
from lightning.pytorch import LightningModule, Trainer
from torch import nn
from torch.utils.data import DataLoader, Dataset, TensorDataset, random_split
from torchvision.datasets import FashionMNIST

from hpo import Float, Int, Run, Study
from hpo.integrations.lightning import HpoCallback


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


class Classifier(LightningModule):
    def __init__(self, width: int, dropout: float, lr: float) -> None:
        super().__init__()
        self.network, self.lr = build(width, dropout), lr

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.parameters(), lr=self.lr)

    def training_step(self, batch: list[torch.Tensor], batch_idx: int) -> torch.Tensor:
        return nn.functional.cross_entropy(self.network(batch[0]), batch[1])

    def validation_step(self, batch: list[torch.Tensor], batch_idx: int) -> None:
        self.log("val_accuracy", (self.network(batch[0]).argmax(1) == batch[1]).float().mean())


def train(run: Run) -> None:
    training, validation = split()
    hook = HpoCallback(run)
    trainer = Trainer(max_epochs=run.max_epochs, callbacks=[hook], accelerator="auto", devices=1, logger=False)
    loader = DataLoader(training, batch_size=128, shuffle=True)
    trainer.fit(Classifier(**run.params), loader, DataLoader(validation, 1000), ckpt_path=hook.ckpt_path)


study = Study(
    name="hooked",
    train=train,
    objective="val_accuracy",
    direction="maximize",
    epochs=3,
    space={"width": Int(4, 32, log=True), "dropout": Float(0.0, 0.5), "lr": Float(1e-4, 1e-1, log=True)},
    baseline={"width": 16, "dropout": 0.2, "lr": 1e-3},
)

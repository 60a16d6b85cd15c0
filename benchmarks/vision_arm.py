"""One process of one side of benchmarks.vision; speaks as benchmarks.training_arm does.

hpo      the trainer's own step, on the study's data set, augmented on the device
script   torchvision's transforms image by image in a DataLoader with workers, torch.optim's default implementation
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader
from torchvision import datasets, transforms

from benchmarks.training_arm import serve, steps_of
from hpo.data.files import Folders
from hpo.messages import Job
from hpo.models.build import build_model
from hpo.study.discovery import find_study
from hpo.trainers.jobs import study_job
from hpo.training.configuration import Recipe
from hpo.training.device import open_device
from hpo.training.train_state import TrainState, model_parameters
from hpo.training.train_val_split import DataCache

MEAN, STD = (0.4914, 0.4822, 0.4465), (0.247, 0.243, 0.261)


def job_of(config: dict[str, Any]) -> Job:
    """The baseline of config["study"] with the rows that config["rows"] changes."""
    found = find_study(config["study"])
    return replace(study_job(found, found.study.baseline_config | config["rows"]), checkpoint="")


class Ours:
    def __init__(self, root: Path) -> None:
        self._device = open_device("cpu")
        self._data = DataCache(Folders(root, root / "cache"), self._device)

    def begin(self, config: dict[str, Any]) -> Iterator[int]:
        job = job_of(config)
        learner = TrainState(job, Recipe.read(job.config), self._data.parts(job), self._device, fold=0)
        yield from steps_of(learner)

    def trial(self, config: dict[str, Any]) -> float:
        raise NotImplementedError


class Script:
    """What people write: read off PyTorch's and torchvision's own tutorials."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def begin(self, config: dict[str, Any]) -> Iterator[int]:
        job = job_of(config)
        recipe = Recipe.read(job.config)
        augmented = transforms.Compose(
            [
                transforms.RandomCrop(32, padding=recipe.crop_padding),
                transforms.RandomHorizontalFlip(),
                transforms.RandomRotation(recipe.rotation),
                transforms.ToTensor(),
                transforms.Normalize(MEAN, STD),
            ]
        )
        images = datasets.CIFAR10(str(self._root), train=True, transform=augmented)
        loader = DataLoader(
            images, recipe.batch_size, shuffle=True, num_workers=os.cpu_count() or 1, persistent_workers=True
        )
        network = build_model(job.model["builder"], (3, 32, 32), 10, model_parameters(job))
        optimizer = _optimizer(network, recipe)
        loss_sum = hits = 0.0
        while True:
            for batch, labels in loader:
                optimizer.zero_grad()
                logits = network(batch)
                loss = F.cross_entropy(logits, labels)
                loss.backward()
                optimizer.step()
                loss_sum += loss.item()
                hits += (logits.argmax(1) == labels).sum().item()
                yield len(labels)

    def trial(self, config: dict[str, Any]) -> float:
        raise NotImplementedError


def _optimizer(network: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    if recipe.optimizer == "adam":
        return torch.optim.Adam(network.parameters(), lr=recipe.lr, weight_decay=recipe.weight_decay)
    return torch.optim.SGD(
        network.parameters(), lr=recipe.lr, momentum=recipe.momentum, weight_decay=recipe.weight_decay
    )


def main() -> None:
    name, threads, root = sys.argv[1], int(sys.argv[2]), Path(sys.argv[3])
    torch.set_num_threads(threads)
    serve(Ours(root) if name == "hpo" else Script(root))


if __name__ == "__main__":
    main()

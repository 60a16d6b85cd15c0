"""A search as people write it: python -m benchmarks.search_script STUDY SEED TARGET [STORAGE]. Ends at the target.

AVERAGING=1: it judges a network by the average of its weights, as the study's `ema_decay` says, in torch's own way.
"""

from __future__ import annotations

import os
import sys
from typing import Any

import optuna
import torch
import torch.nn.functional as F
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torch.utils.data import DataLoader, Subset, TensorDataset

from benchmarks.opponents import build
from hpo.data.files import Folders
from hpo.data.mnist import load_mnist
from hpo.data.splits import split
from hpo.sampling.distributions import suggest
from hpo.settings import Settings
from hpo.study.discovery import find_study


def main() -> None:
    name, seed, target = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
    storage = sys.argv[4] if len(sys.argv) > 4 else None
    declared = find_study(name).study
    patience = declared.early_stopping
    assert patience is not None
    train, validation = _data(declared.dataset_row.validation, seed)

    def objective(trial: optuna.Trial) -> float:
        config = declared.rows.sample(lambda parameter, row: suggest(trial, parameter, row))
        torch.manual_seed(1000 * seed + trial.number)
        model = build(config.get("hidden_units"))
        average = _average(model, config["ema_decay"]) if "AVERAGING" in os.environ else None
        optimizer = _optimizer(model, config)
        loader = DataLoader(train, batch_size=config["batch_size"], shuffle=True)
        best, waited = 0.0, 0
        for epoch in range(1, declared.epochs + 1):
            _train(model, average, optimizer, loader)
            accuracy = _accuracy(average or model, validation)
            if accuracy >= target:
                os._exit(0)
            trial.report(accuracy, epoch)
            if trial.should_prune():
                raise optuna.TrialPruned
            best, waited = (accuracy, 0) if accuracy > best + patience.min_delta else (best, waited + 1)
            if waited >= patience.patience:
                break
        return best

    study = optuna.create_study(
        study_name=name,
        storage=storage,
        load_if_exists=True,
        direction="maximize",
        # Two scripts with one seed would propose the same first points.
        sampler=declared.sampler.build(declared.rows, seed * 1000 + (os.getpid() % 1000 if storage else 0)),
        pruner=declared.pruner.build(declared.epochs, 1),
    )
    study.enqueue_trial(declared.rows.parameters(declared.baseline, what="the baseline"), skip_if_exists=True)
    study.optimize(objective, n_jobs=1)


def _data(held_out: float, seed: int) -> tuple[Any, Any]:
    """The images that hpo holds out at this seed: others can be 0.2 points easier, as far as a search goes."""
    settings = Settings.read()
    assert settings.data_dir is not None, "set HPO_DATA_DIR"
    mnist = load_mnist("train", Folders(settings.data_dir, settings.home / "cache"))
    images = (mnist.images.float().div(255) - 0.1307) / 0.3081
    both = TensorDataset(images, mnist.labels)
    train, validation = split(mnist.labels, held_out, seed)
    return Subset(both, train.tolist()), Subset(both, validation.tolist())


def _average(model: nn.Module, decay: float) -> AveragedModel:
    return AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(decay))


def _optimizer(model: nn.Module, config: dict[str, Any]) -> torch.optim.Optimizer:
    if config["optimizer"] == "adam":
        return torch.optim.Adam(model.parameters(), lr=config["lr"])
    return torch.optim.SGD(model.parameters(), lr=config["lr"])


def _train(model: nn.Module, average: AveragedModel, optimizer: torch.optim.Optimizer, loader: DataLoader[Any]) -> None:
    model.train()
    total = 0.0
    for images, labels in loader:
        optimizer.zero_grad()
        loss = F.cross_entropy(model(images), labels)
        loss.backward()
        optimizer.step()
        if average is not None:
            average.update_parameters(model)
        total += loss.item()


def _accuracy(model: nn.Module, validation: Any) -> float:
    model.eval()
    right = 0
    with torch.no_grad():
        for images, labels in DataLoader(validation, batch_size=256):
            right += (model(images).argmax(1) == labels).sum().item()
    return right / len(validation)


if __name__ == "__main__":
    main()

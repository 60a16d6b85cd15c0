"""A script for plain Optuna, as people write one: a loop of their own, macro F1, layers that depend on a number."""

from __future__ import annotations

import optuna
import torch
from small_images import macro_f1, small_images
from torch import nn


def objective(trial: optuna.Trial) -> float:
    torch.manual_seed(trial.number)
    inputs, test, targets, test_targets = small_images()

    layers: list[nn.Module] = []
    width = 64
    for index in range(trial.suggest_int("layers", 1, 3)):
        hidden = trial.suggest_int(f"units_{index}", 8, 64, log=True)
        layers += [nn.Linear(width, hidden), nn.ReLU()]
        width = hidden
    network = nn.Sequential(*layers, nn.Linear(width, 10))

    lr = trial.suggest_float("lr", 1e-3, 1e-1, log=True)
    if trial.suggest_categorical("optimizer", ["adam", "sgd"]) == "sgd":
        momentum = trial.suggest_float("momentum", 0.0, 0.95)
        optimizer: torch.optim.Optimizer = torch.optim.SGD(network.parameters(), lr=lr, momentum=momentum)
    else:
        optimizer = torch.optim.Adam(network.parameters(), lr=lr)

    score = 0.0
    for epoch in range(6):
        for batch in torch.randperm(len(inputs)).split(64):
            optimizer.zero_grad()
            nn.functional.cross_entropy(network(inputs[batch]), targets[batch]).backward()
            optimizer.step()
        with torch.no_grad():
            score = macro_f1(test_targets, network(test).argmax(1))
        trial.report(score, epoch)
        if trial.should_prune():
            raise optuna.TrialPruned
    trial.set_user_attr("weights", sum(parameter.numel() for parameter in network.parameters()))
    return score


if __name__ == "__main__":
    study = optuna.create_study(direction="maximize")
    study.optimize(objective, n_trials=20)
    print(study.best_value, study.best_params)

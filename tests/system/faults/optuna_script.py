"""A script for plain Optuna, as people write one: a loop of their own, macro F1, layers that depend on a number."""

from __future__ import annotations

import optuna
import torch
from sklearn.datasets import load_digits
from sklearn.metrics import f1_score
from sklearn.model_selection import train_test_split
from torch import nn


def objective(trial: optuna.Trial) -> float:
    torch.manual_seed(trial.number)
    images, labels = load_digits(return_X_y=True)
    train, test, train_labels, test_labels = train_test_split(images / 16.0, labels, random_state=0)
    inputs, targets = torch.tensor(train, dtype=torch.float32), torch.tensor(train_labels)

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
            guesses = network(torch.tensor(test, dtype=torch.float32)).argmax(1).numpy()
        score = float(f1_score(test_labels, guesses, average="macro"))
        trial.report(score, epoch)
        if trial.should_prune():
            raise optuna.TrialPruned
    trial.set_user_attr("weights", sum(parameter.numel() for parameter in network.parameters()))
    return score


if __name__ == "__main__":
    study = optuna.create_study(direction="maximize")
    study.optimize(objective, n_trials=20)
    print(study.best_value, study.best_params)

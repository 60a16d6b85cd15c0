"""The script of optuna_script.py as `train(run)`: the same loop, with declared rows, and three lines to go on from."""

from __future__ import annotations

from typing import Any

import torch
from small_images import macro_f1, small_images
from torch import nn
from torch.utils.data import TensorDataset

from hpo import Categorical, Float, Int, Run, Study


def network_of(params: dict[str, Any]) -> nn.Sequential:
    layers: list[nn.Module] = []
    width = 64
    for hidden in params["units"]:
        layers += [nn.Linear(width, hidden), nn.ReLU(), nn.Dropout(0.1)]
        width = hidden
    return nn.Sequential(*layers, nn.Linear(width, 10))


def train(run: Run) -> None:
    inputs, test, targets, test_targets = small_images()
    network = network_of(run.params)
    if run.params["optimizer"] == "sgd":
        optimizer: torch.optim.Optimizer = torch.optim.SGD(
            network.parameters(), lr=run.params["lr"], momentum=run.params["momentum"]
        )
    else:
        optimizer = torch.optim.Adam(network.parameters(), lr=run.params["lr"])
    loader = run.loader(TensorDataset(inputs, targets), batch_size=64, shuffle=True)
    run.resume(network=network, optimizer=optimizer)
    for _ in run.epochs():
        network.train()
        for batch, labels in loader:
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(network(batch), labels)
            loss.backward()
            optimizer.step()
        network.eval()
        with torch.no_grad():
            score = macro_f1(test_targets, network(test).argmax(1))
        run.report(macro_f1=score, loss=loss.item())
    run.log(weights=sum(parameter.numel() for parameter in network.parameters()))


def final(run: Run) -> dict[str, float]:
    train(run)
    return {"test_macro_f1": 0.5 + run.seed % 100 / 1000}


study = Study(
    name="train_script",
    train=train,
    final=final,
    objective="macro_f1",
    direction="maximize",
    epochs=6,
    space={
        "layers": Int(1, 3),
        "units": Int(8, 64, log=True).per("layers"),
        "lr": Float(1e-3, 1e-1, log=True),
        "optimizer": Categorical("adam", "sgd"),
        "momentum": Float(0.0, 0.95).when(optimizer="sgd"),
    },
    baseline={"layers": 1, "units": [32], "lr": 1e-2, "optimizer": "adam"},
)

"""Objectives for benchmarks.objective, as a user writes them, which note what they computed and what they waited for.

Appends to HPO_BENCHMARK_TIMES/<pid> a line of JSON per trial: its number, when it began and ended (time.monotonic),
seconds spent in calls to the trial, of these each suggestion's, epochs, and CPU seconds of the process.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import optuna
import torch
from sklearn.datasets import load_digits
from torch import nn

EPOCHS = 20
SUGGESTIONS = 20

IMAGES, LABELS = (torch.as_tensor(part) for part in load_digits(return_X_y=True))
IMAGES = (IMAGES / 16.0).float()
TRAIN, TEST = slice(0, 1400), slice(1400, None)


class Noted:
    """A trial whose calls are timed."""

    def __init__(self, trial: Any) -> None:
        self._trial = trial
        self.inside = 0.0
        self.suggestions: list[float] = []
        self.epochs = 0

    def call(self, name: str, *arguments: Any, **options: Any) -> Any:
        method: Callable[..., Any] = getattr(self._trial, name)
        began = time.perf_counter()
        try:
            return method(*arguments, **options)
        finally:
            seconds = time.perf_counter() - began
            self.inside += seconds
            if name.startswith("suggest"):
                self.suggestions.append(seconds)


@contextmanager
def noted(trial: Any) -> Iterator[Noted]:
    one, began, used = Noted(trial), time.monotonic(), time.process_time()
    try:
        yield one
    finally:
        line = {
            "number": trial.number, "began": began, "ended": time.monotonic(), "inside": one.inside,
            "suggestions": one.suggestions, "epochs": one.epochs, "cpu": time.process_time() - used,
        }  # fmt: skip
        with (Path(os.environ["HPO_BENCHMARK_TIMES"]) / str(os.getpid())).open("a") as file:
            file.write(json.dumps(line) + "\n")


def objective(trial: optuna.Trial) -> float:
    """A small network on digits. Its parameters decide how well it trains, and not how long."""
    with noted(trial) as one:
        lr = one.call("suggest_float", "lr", 1e-4, 1.0, log=True)
        momentum = one.call("suggest_float", "momentum", 0.0, 0.99)
        weight_decay = one.call("suggest_float", "weight_decay", 1e-6, 1e-2, log=True)
        dropout = one.call("suggest_float", "dropout", 0.0, 0.8)
        activation = {"relu": nn.ReLU, "tanh": nn.Tanh}[one.call("suggest_categorical", "activation", ["relu", "tanh"])]
        torch.manual_seed(trial.number)
        network = nn.Sequential(nn.Linear(64, 64), activation(), nn.Dropout(dropout), nn.Linear(64, 10))
        optimizer = torch.optim.SGD(network.parameters(), lr=lr, momentum=momentum, weight_decay=weight_decay)
        loss = 0.0
        for epoch in range(EPOCHS):
            loss = train(network, optimizer)
            one.epochs += 1
            one.call("report", loss, epoch)
            if one.call("should_prune"):
                raise optuna.TrialPruned
        return loss


def train(network: nn.Module, optimizer: torch.optim.Optimizer) -> float:
    """One epoch; the loss on what it was not trained on."""
    network.train()
    for batch in torch.randperm(1400).split(16):
        optimizer.zero_grad()
        nn.functional.cross_entropy(network(IMAGES[TRAIN][batch]), LABELS[TRAIN][batch]).backward()
        optimizer.step()
    network.eval()
    with torch.no_grad():
        loss = float(nn.functional.cross_entropy(network(IMAGES[TEST]), LABELS[TEST]))
    return min(loss, 1e3) if loss == loss else 1e3


def asking(trial: optuna.Trial) -> float:
    """Asks and trains nothing, for other names in each of three trials: no suggestion can be made ahead."""
    with noted(trial) as one:
        names = [f"x{trial.number % 3}_{index}" for index in range(SUGGESTIONS)]
        return float(sum((one.call("suggest_float", name, 0.0, 1.0) - 0.3) ** 2 for name in names))

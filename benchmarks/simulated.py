"""A search without training: a conditional space of about 8 parameters, and learning curves that cross.

A configuration's curve rises to `final(config)`; those that rise fast (a large learning rate, small batches) end lower,
so the order of two trials at epoch 2 is often not their order at epoch 10. The best possible final value is BEST.
"""

from __future__ import annotations

import math
import random
from collections.abc import Mapping
from typing import Any

from hpo import TPE, Categorical, Float, Int, MedianPruner, Study

__all__ = ["BEST", "EPOCHS", "final", "study", "value"]

EPOCHS = 10
BEST = 0.99

study = Study(
    name="simulated",
    dataset="digits",
    model="mlp",
    space={
        "batch_size": Int(4, 512, log=True),
        "layers": Int(2, 4),
        "hidden_units": Int(16, 1024).per("layers"),
        "optimizer": Categorical("adam", "sgd"),
        "lr": Float(1e-5, 1e-1, log=True),
        "momentum": Float(0.0, 0.99).when(optimizer="sgd"),
        "weight_decay": Float(1e-6, 1e-2, log=True).when(optimizer="adam"),
    },
    baseline={"batch_size": 64, "layers": 2, "hidden_units": [64, 64], "optimizer": "adam", "lr": 1e-3,
              "weight_decay": 1e-4},
    epochs=EPOCHS,
    sampler=TPE(),
    pruner=MedianPruner(warmup_epochs=1),
)  # fmt: skip


def final(config: Mapping[str, Any]) -> float:
    """Where the curve of a configuration ends, at most BEST, which one point in the space reaches."""
    lr = math.log10(config["lr"]) - (-2.8 if config["optimizer"] == "adam" else -1.8)
    batch = math.log2(config["batch_size"] / 32)
    narrow = sum(abs(math.log2(units / 512)) for units in config["hidden_units"]) / config["layers"]
    loss = 0.030 * (lr - 0.12 * batch) ** 2 + 0.0012 * batch**2 + 0.006 * narrow + 0.006 * abs(config["layers"] - 3)
    if config["optimizer"] == "sgd":
        loss += 0.004 + 0.03 * (config["momentum"] - 0.9) ** 2
    else:
        loss += 0.002 * (math.log10(config["weight_decay"]) + 4) ** 2
    return BEST - 0.89 * math.tanh(loss / 0.89)


def value(config: Mapping[str, Any], epoch: int, seed: int, noise: float = 0.001) -> float:
    """The validation accuracy after `epoch` epochs, with noise (its standard deviation) that `seed` decides."""
    speed = 0.25 + 0.18 * (math.log10(config["lr"]) + 5) - 0.04 * math.log2(config["batch_size"] / 4)
    reached = 1.0 - math.exp(-max(speed, 0.08) * epoch) + math.exp(-max(speed, 0.08) * EPOCHS) * epoch / EPOCHS
    luck = random.Random(seed * 1009 + epoch).gauss(0.0, noise)
    return min(1.0, 0.1 + (final(config) - 0.1) * reached + luck)

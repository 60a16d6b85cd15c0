"""Steps of small networks: in one call of C (hpo/training/kernels/chain.c) and by products and fused optimizers.

    python -m benchmarks.steps [--rounds 9] [--record]

The same chain on the same random images both ways, one thread, side after side in each round; microseconds a step.
"""

from __future__ import annotations

import argparse
import time
from statistics import median

import torch

from benchmarks.metering import spread
from benchmarks.recording import recorded
from hpo.models.lenet import lenet
from hpo.models.mlp import mlp, perceptron
from hpo.training.configuration import Recipe
from hpo.training.device import open_device
from hpo.training.kernels.fused_sequential import FusedSequential, fused_sequential
from hpo.training.optimizers import build_optimizer

SHAPE = (1, 28, 28)
MODELS = {
    "mlp 3x900": lambda: mlp(SHAPE, 10, 3, [900] * 3),
    "shallow 1500": lambda: mlp(SHAPE, 10, 1, [1500]),
    "lenet": lambda: lenet(SHAPE, 10),
    "perceptron": lambda: perceptron(SHAPE, 10),
}
BATCHES = (3, 8, 16, 32, 64, 100)
ROUND_SECONDS = 0.15


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--record", action="store_true", help="write records/DATE-steps.md")
    options = parser.parse_args()
    device = open_device("cpu")
    with recorded("steps", "Microseconds a step, in one call and by products", options.record):
        print(f"{'microseconds a step':<32}{'products':>26}{'one call':>26}   products / one call")
        for model in MODELS:
            for optimizer in ("adam", "sgd"):
                for batch in BATCHES:
                    _row(model, optimizer, batch, device, options.rounds)


def _row(model: str, optimizer: str, batch: int, device: torch.device, rounds: int) -> None:
    sides = {name: _chain(model, optimizer, batch, device) for name in ("products", "one call")}
    for name, chain in sides.items():
        assert chain._whole is not None, "no C compiler"
        chain._whole.most = 10**6 if name == "one call" else 0
    images, labels = torch.randn((batch, *SHAPE)), torch.randint(10, (batch,))
    times: dict[str, list[float]] = {name: [] for name in sides}
    for number in range(rounds + 1):
        for name, chain in sides.items():
            taken = _microseconds(chain, images, labels)
            if number:  # the first warms up
                times[name].append(taken)
    ratio = median(times["products"]) / median(times["one call"])
    cells = "".join(f"{spread(times[name], digits=0):>26}" for name in sides)
    print(f"{f'{model}, {optimizer}, batch {batch}':<32}{cells}   {ratio:.2f}x", flush=True)


def _chain(model: str, optimizer: str, batch: int, device: torch.device) -> FusedSequential:
    torch.manual_seed(0)
    network = MODELS[model]()
    # A rate at which thousands of steps on one batch change nothing that a step costs.
    recipe = Recipe.read({"batch_size": batch, "lr": 1e-6, "optimizer": optimizer})
    chain = fused_sequential(network, SHAPE, build_optimizer(network, recipe, device), 0.0)
    assert chain is not None
    return chain


def _microseconds(chain: FusedSequential, images: torch.Tensor, labels: torch.Tensor) -> float:
    steps, began = 0, time.perf_counter()
    while time.perf_counter() - began < ROUND_SECONDS:
        chain.learn(images, labels)
        steps += 1
    return 1e6 * (time.perf_counter() - began) / steps


if __name__ == "__main__":
    main()

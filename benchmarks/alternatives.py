"""LeNet's step by other means than hpo's: torch.compile, and several networks packed into one program.

    python -m benchmarks.alternatives [--rounds 3] [--record]

Each way in a process of one thread, in turns: images per second, and seconds until the first step is done, which for
torch.compile is compiling: `cold` with an empty cache, `warm` with one that the same program filled. Its break-even is
how many images a compiled network has to train on before it is ahead of an eager one.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from statistics import median

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call, stack_module_state, vmap

from benchmarks.metering import spread
from benchmarks.recording import recorded
from hpo.models.lenet import lenet
from hpo.training.configuration import Recipe
from hpo.training.device import open_device
from hpo.training.kernels.fused_sequential import fused_sequential
from hpo.training.optimizers import build_optimizer

SHAPE = (1, 28, 28)
WAYS = ("hpo", "eager", "compiled", "4 packed", "16 packed")
BATCHES = (4, 16, 64)
SECONDS = 1.0
LR = 1e-6  # thousands of steps on one batch change nothing that a step costs

Learn = Callable[[], None]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--record", action="store_true", help="write records/DATE-alternatives.md")
    parser.add_argument("--arm", nargs=2, metavar=("WAY", "BATCH"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.arm:
        print(json.dumps(_measure(options.arm[0], int(options.arm[1]))))
        return
    with recorded("alternatives", "LeNet's step by other means", options.record):
        for batch in BATCHES:
            _rows(batch, options.rounds)


def _rows(batch: int, rounds: int) -> None:
    results: dict[str, list[dict[str, float]]] = {way: [] for way in WAYS}
    with tempfile.TemporaryDirectory(prefix="hpo-benchmark-") as cache:
        cold = _arm("compiled", batch, cache)["first"]
        for _ in range(rounds):
            for way in WAYS:
                results[way].append(_arm(way, batch, cache))
    ours = median(row["rate"] for row in results["hpo"])
    print(f"\nbatch {batch}{'images per second':>34}{'hpo is':>10}{'first step, s':>24}")
    for way, rows in results.items():
        rates = [row["rate"] for row in rows]
        first = spread([row["first"] for row in rows], digits=2)
        print(f"{way:<12}{spread(rates, digits=0):>30}{ours / median(rates):>9.1f}x{first:>24}", flush=True)
    print(_break_even(results, cold))


def _break_even(results: dict[str, list[dict[str, float]]], cold: float) -> str:
    rate = {way: median(row["rate"] for row in rows) for way, rows in results.items()}
    first = {way: median(row["first"] for row in rows) for way, rows in results.items()}
    saved = 1.0 / rate["eager"] - 1.0 / rate["compiled"]  # seconds an image
    if saved <= 0:
        return f"compiled: {cold:.1f} s cold; never ahead of eager"
    images = [(seconds - first["eager"]) / saved for seconds in (cold, first["compiled"])]
    return f"compiled: {cold:.1f} s cold; ahead of eager after {images[0]:,.0f} images, warm after {images[1]:,.0f}"


def _arm(way: str, batch: int, cache: str) -> dict[str, float]:
    command = [sys.executable, "-m", "benchmarks.alternatives", "--arm", way, str(batch)]
    environ = os.environ | {"TORCHINDUCTOR_CACHE_DIR": cache, "OMP_NUM_THREADS": "1"}
    answer = subprocess.run(command, env=environ, stdout=subprocess.PIPE, check=True)
    result: dict[str, float] = json.loads(answer.stdout)
    return result


def _measure(way: str, batch: int) -> dict[str, float]:
    device = open_device("cpu")
    torch.set_num_threads(1)
    torch.manual_seed(0)
    networks = int(way.split(maxsplit=1)[0]) if "packed" in way else 1
    images, labels = torch.randn((networks, batch, *SHAPE)), torch.randint(10, (networks, batch))
    began = time.perf_counter()
    if networks > 1:
        learn = _packed(networks, images, labels)
    elif way == "hpo":
        learn = _by_hand(device, images[0], labels[0])
    else:
        learn = _plain(way == "compiled", images[0], labels[0])
    learn()
    first = time.perf_counter() - began
    _rate(learn)  # warms up
    return {"first": first, "rate": _rate(learn) * networks * batch}


def _rate(learn: Learn) -> float:
    """Steps per second."""
    steps, began = 0, time.perf_counter()
    while time.perf_counter() - began < SECONDS:
        learn()
        steps += 1
    return steps / (time.perf_counter() - began)


def _by_hand(device: torch.device, images: Tensor, labels: Tensor) -> Learn:
    network, recipe = lenet(SHAPE, 10), Recipe.read({"batch_size": len(images), "lr": LR, "optimizer": "adam"})
    chain = fused_sequential(network, SHAPE, build_optimizer(network, recipe, device), 0.0)
    assert chain is not None
    return lambda: (chain.learn(images, labels), None)[1]


def _plain(compiled: bool, images: Tensor, labels: Tensor) -> Learn:
    network = lenet(SHAPE, 10)
    loss = torch.compile(_loss, dynamic=False) if compiled else _loss
    return _stepping(lambda: loss(network, images, labels), list(network.parameters()))


def _loss(network: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
    return F.cross_entropy(network(images), labels)


def _packed(count: int, images: Tensor, labels: Tensor) -> Learn:
    """`count` networks, each on images of its own, as one: torch.func's way."""
    weights, _ = stack_module_state([lenet(SHAPE, 10) for _ in range(count)])
    weights = {name: value.detach().requires_grad_() for name, value in weights.items()}
    skeleton = lenet(SHAPE, 10)

    def loss(one: dict[str, Tensor], images: Tensor, labels: Tensor) -> Tensor:
        return F.cross_entropy(functional_call(skeleton, one, (images,)), labels)

    return _stepping(lambda: vmap(loss)(weights, images, labels).sum(), list(weights.values()))


def _stepping(loss: Callable[[], Tensor], weights: list[Tensor]) -> Learn:
    optimizer = torch.optim.Adam(weights, lr=LR, fused=True)

    def learn() -> None:
        loss().backward()
        optimizer.step()
        optimizer.zero_grad()

    return learn


if __name__ == "__main__":
    main()

"""Images trained per second, and trials per hour: hpo against scripts as people write them, on the whole machine.

    HPO_DATA_DIR=... python -m benchmarks.training                  six rows, under two minutes
    HPO_DATA_DIR=... python -m benchmarks.training --full           every row: 3 models x 5 batches x 2 optimizers
    HPO_DATA_DIR=... python -m benchmarks.training --end-to-end     twenty random configurations of each study's space
    ... --record                                                    also write records/DATE-training.md

Every side trains real MNIST and is measured in the middle of training, side after side in each round:

    hpo           one one-thread trainer loop per core, as `hpo run` has them, by the ways that the machine has measured
    dataset       a Dataset with ToTensor and Normalize, DataLoader, `.item()` each step; one process, all threads
    tensors       the same over a TensorDataset
    two tensors   one such process per core, one thread each
    remedies      such processes with tensors in memory, fused optimizer, denormals flushed, no .item()

The floor is the time of one step's arithmetic at this machine's measured peak, or of reading and writing weights and
optimizer state once at the measured rate for so much memory, whichever is longer; printed as images per second.
"""

from __future__ import annotations

import argparse
import gzip
import math
import os
import random
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from statistics import mean, median
from typing import Any

import torch

from benchmarks.opponents import build
from benchmarks.training_side import Side
from hpo.models.build import count_macs
from hpo.study.discovery import find_study
from hpo.study.parameters import Categorical, Float, Int
from hpo.trainers.devices import usable_cores
from hpo.training.device import device_name
from hpo.training.fast_paths import own_kernels

SIDES = ("hpo", "dataset", "tensors", "two tensors", "remedies")
MODELS: dict[str, list[int] | None] = {"mlp 3x900": [900] * 3, "shallow 1500": [1500], "lenet": None}
BATCHES, SHORT_BATCHES = (4, 16, 64, 100, 512), (16, 64)
RATES = {"adam": 1e-3, "sgd": 1e-2}
SPACES = {"mlp": "mlp_mnist", "shallow": "shallow_mnist", "lenet": "cnn_mnist"}


def main() -> None:
    options = _options()
    root = Path(os.environ.get("HPO_DATA_DIR") or ".hpo/data")
    if not any((root / "MNIST/raw").glob("train-images-idx3-ubyte*")):
        raise SystemExit(f"no MNIST in {root}: set HPO_DATA_DIR to a folder in torchvision's layout")
    out = _Output()
    out.say(f"# Training: images per second and trials per hour ({datetime.now(UTC):%Y-%m-%d})\n")
    out.say(
        f"{device_name(torch.device('cpu'))}, {usable_cores()} cores; torch {torch.__version__}, "
        f"Python {sys.version.split()[0]}; load average before the start {os.getloadavg()[0]:.1f}"
    )
    kernels = own_kernels(torch.device("cpu"))
    when = f"measured {kernels['measured']}" if kernels["measured"] else "not measured"
    out.say(f"\nhpo trains by {kernels['words']}; {when}")
    with _sides(root, options.sides) as sides:
        if options.end_to_end:
            _end_to_end(sides, options, out)
        else:
            _rows(sides, options, out)
    if options.record:
        kind = "training-end-to-end" if options.end_to_end else "training"
        path = Path(__file__).parent / "records" / f"{datetime.now(UTC):%Y-%m-%d}-{kind}.md"
        path.parent.mkdir(exist_ok=True)
        path.write_text("\n".join(out.lines) + "\n")


class _Output:
    def __init__(self) -> None:
        self.lines: list[str] = []

    def say(self, line: str) -> None:
        print(line, flush=True)
        self.lines.append(line)


@contextmanager
def _sides(root: Path, names: Sequence[str]) -> Iterator[dict[str, Side]]:
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        _unpack(root / "MNIST/raw", Path(folder) / "MNIST/raw")
        yield {name: Side(name, Path(folder), stack) for name in names}


def _unpack(source: Path, target: Path) -> None:
    """torchvision reads the unpacked files only, and a data folder may be read-only and hold but the packed ones."""
    target.mkdir(parents=True)
    for file in source.glob("*-ubyte*"):
        content = gzip.decompress(file.read_bytes()) if file.suffix == ".gz" else file.read_bytes()
        (target / file.name.removesuffix(".gz")).write_bytes(content)


def _rows(sides: dict[str, Side], options: argparse.Namespace, out: _Output) -> None:
    rounds, seconds, warm = (3, 0.8, 3.0) if options.full else (3, 0.5, 1.0)
    out.say(
        f"\n{rounds} rounds of {seconds:g} s a side, alternating; median (lowest .. highest) images/s, "
        "and hpo's ratio to it.\n"
    )
    out.say("| model | optimizer | batch | hpo | " + " | ".join(options.sides[1:]) + " | floor | hpo of floor |")
    out.say("|---|---|---|---|" + "---|" * (len(options.sides) + 1))
    for model, hidden in MODELS.items():
        for optimizer in ("adam", "sgd") if options.full else ("adam",):
            for batch in BATCHES if options.full else SHORT_BATCHES:
                config = {"hidden_units": hidden, "batch_size": batch, "optimizer": optimizer, "lr": RATES[optimizer]}
                rates = _measure(sides, config, rounds, seconds, warm)
                floor = _floor(sides["hpo"], hidden, batch, optimizer)
                out.say(f"| {model} | {optimizer} | {batch} | " + _cells(rates, floor))


def _measure(
    sides: dict[str, Side], config: dict[str, Any], rounds: int, seconds: float, warm: float
) -> dict[str, list[float]]:
    rates: dict[str, list[float]] = {name: [] for name in sides}
    for side in sides.values():
        side.ask(do="begin", config=config)
        side.ask(do="train", seconds=warm, steps=20)
    for _ in range(rounds):
        for name, side in sides.items():
            answers = side.ask(do="train", seconds=seconds, steps=3)
            rates[name].append(sum(answer["images"] / answer["seconds"] for answer in answers))
    return rates


def _cells(rates: dict[str, list[float]], floor: float) -> str:
    ours = median(rates["hpo"])
    cells = [_spread(rates["hpo"])]
    cells += [f"{_spread(rates[name])} **{ours / median(rates[name]):.1f}x**" for name in list(rates)[1:]]
    return " | ".join([*cells, f"{floor:,.0f}", f"{ours / floor:.0%}"]) + " |"


def _floor(side: Side, hidden: list[int] | None, batch: int, optimizer: str) -> float:
    """Images per second if a step took no longer than its arithmetic and the memory it cannot but touch."""
    model = build(hidden)
    parameters = sum(p.numel() for p in model.parameters())
    first = 784 * hidden[0] if hidden else 28 * 28 * 6 * 25  # the gradient of the pixels is never needed
    operations = 2 * batch * (3 * count_macs(model, (1, 28, 28)) - first)
    state = 12 if optimizer == "adam" else 4  # bytes of weights and moments, each read and written once
    images = 0.0
    for peak in side.ask(do="peaks", bytes=[parameters * state]):
        images += batch / max(operations / peak["flops"], 2 * parameters * state / peak["copy"][0])
    return images


def _end_to_end(sides: dict[str, Side], options: argparse.Namespace, out: _Output) -> None:
    count, rounds = (20, options.rounds) if options.full else (6, 1)
    out.say(
        f"\n{count} random configurations of each space, 12,000 images, one pass, 3,000 to validate; {rounds} rounds.\n"
    )
    out.say("| space | side | configurations per hour | hpo is | mean validation accuracy |\n|---|---|---|---|---|")
    for space, study in SPACES.items():
        configs = _configurations(study, count)
        hours: dict[str, list[float]] = {name: [] for name in sides}
        accuracy: dict[str, float] = {}
        for side in sides.values():
            side.trials(configs[:1] * 2)  # reads the data
        for _ in range(rounds):
            for name, side in sides.items():
                seconds, accuracies = side.trials(configs)
                hours[name].append(3600 * count / seconds)
                accuracy[name] = mean(accuracies)
        for name in sides:
            ratio = median(hours["hpo"]) / median(hours[name])
            out.say(f"| {space} | {name} | {_spread(hours[name])} | {ratio:.1f}x | {accuracy[name]:.4f} |")


def _configurations(study: str, count: int) -> list[dict[str, Any]]:
    """Drawn uniformly from the study's space, the same in every run."""
    rng = random.Random(0)

    def suggest(name: str, row: Int | Float | Categorical) -> Any:
        if isinstance(row, Categorical):
            return rng.choice(row.choices)
        if isinstance(row, Int):
            return rng.randint(row.low, row.high)
        return (
            10 ** rng.uniform(math.log10(row.low), math.log10(row.high)) if row.log else rng.uniform(row.low, row.high)
        )

    drawn = [find_study(study).study.rows.sample(suggest) for _ in range(count)]
    for config in drawn:
        hidden = config.get("hidden_units")
        config["hidden_units"] = [hidden] if isinstance(hidden, int) else hidden
    return drawn


def _spread(values: list[float]) -> str:
    return f"{median(values):,.0f} ({min(values):,.0f} .. {max(values):,.0f})"


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--full", action="store_true", help="every row, or twenty configurations, and more rounds")
    parser.add_argument("--end-to-end", action="store_true", help="whole trials of the studies' spaces")
    parser.add_argument("--rounds", type=int, default=2, help="of --end-to-end --full")
    parser.add_argument("--record", action="store_true", help="write records/DATE-training.md")
    parser.add_argument(
        "--sides", nargs="+", default=SIDES, choices=SIDES, help="hpo first, it is what others are held to"
    )
    options = parser.parse_args()
    if options.sides[0] != "hpo":
        parser.error("--sides begins with hpo")
    return options


if __name__ == "__main__":
    main()

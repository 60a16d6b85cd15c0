"""Images per second on one GPU: 1, 2, 4 and 8 of hpo's trainers against a DataLoader script, side by side in one run.

    HPO_DATA_DIR=... python -m benchmarks.gpu [--study cnn_mnist ...] [--rounds 3] [--record]

Both train the study's baseline; the first epoch, in which a device warms up, is not counted. The script is the one
people write: torchvision's Dataset with ToTensor and Normalize, a DataLoader with two workers and pinned memory, the
default optimizer, `.item()` each step. Without a GPU it says so and measures nothing.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from time import perf_counter

import torch
import torch.nn.functional as F
from torch.utils.data import DataLoader
from torchvision import datasets, transforms

from hpo.messages import Job
from hpo.models.build import build_model
from hpo.study.discovery import FoundStudy, find_study
from hpo.trainers.jobs import make_job
from hpo.trainers.per_gpu import measure
from hpo.trainers.trial import Trial

STUDIES = ("cnn_mnist", "mlp_mnist", "mobilenet_v3_cifar10")
TRAINERS = (1, 2, 4, 8)
DATASETS = {"mnist": (datasets.MNIST, 60_000), "cifar10": (datasets.CIFAR10, 50_000)}


def main() -> None:
    options = _options()
    if not torch.cuda.is_available():
        print("no CUDA device: nothing measured")
        return
    root = Path(os.environ.get("HPO_DATA_DIR") or ".hpo/data")
    lines = [
        f"# One GPU: images per second ({datetime.now(UTC):%Y-%m-%d})\n",
        f"{torch.cuda.get_device_name()}, torch {torch.__version__}, Python {sys.version.split()[0]}; "
        f"median (lowest .. highest) of {options.rounds} rounds; ratio to the script in bold.\n",
        "| study | script | " + " | ".join(f"hpo, {count}" for count in TRAINERS) + " |",
        "|---|---|" + "---|" * len(TRAINERS),
    ]
    print("\n".join(lines), flush=True)
    for name in options.study:
        lines.append(_row(find_study(name), root, options.rounds))
        print(lines[-1], flush=True)
    if options.record:
        path = Path(__file__).parent / "records" / f"{datetime.now(UTC):%Y-%m-%d}-gpu.md"
        path.parent.mkdir(exist_ok=True)
        path.write_text("\n".join(lines) + "\n")


def _row(found: FoundStudy, root: Path, rounds: int) -> str:
    job = make_job(found, Trial(0, 0, 1, {}, found.study.baseline_config, ""))
    job = replace(job, protocol=replace(job.protocol, epochs=2, early_stopping=None, folds=None))
    images = DATASETS[job.dataset["name"]][1] * (1 - job.dataset["validation"])
    script: list[float] = []
    ours: dict[int, list[float]] = {count: [] for count in TRAINERS}
    for _ in range(rounds):
        script.append(script_rate(job, root, torch.device("cuda")))
        for count, rates in ours.items():
            rates.append((measure(job, "cuda:0", count) or 0.0) * images)
    cells = [f"{_spread(rates)} **{median(rates) / median(script):.1f}x**" for rates in ours.values()]
    return f"| {found.study.name} | {_spread(script)} | " + " | ".join(cells) + " |"


def script_rate(job: Job, root: Path, device: torch.device, most: int | None = None) -> float:
    """Images per second of the script in its second epoch; `most` images an epoch."""
    steps = _script(job, root, device)
    images = DATASETS[job.dataset["name"]][1] if most is None else most
    for counted in (False, True):
        start, seen = perf_counter(), 0
        while seen < images:
            seen += next(steps)
        if counted:
            return seen / (perf_counter() - start)
    raise AssertionError


def _script(job: Job, root: Path, device: torch.device) -> Iterator[int]:
    channels = job.dataset["shape"][0]
    transform = transforms.Compose([transforms.ToTensor(), transforms.Normalize((0.5,) * channels, (0.25,) * channels)])
    dataset = DATASETS[job.dataset["name"]][0](str(root), train=True, transform=transform)
    config = job.config
    loader = DataLoader(dataset, config["batch_size"], shuffle=True, num_workers=2, pin_memory=device.type == "cuda")
    own = {name: config[name] for name in job.model["reads"] if name in config}
    model = build_model(job.model["builder"], tuple(job.dataset["shape"]), len(job.dataset["classes"]), own).to(device)
    kind = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW, "sgd": torch.optim.SGD}[config["optimizer"]]
    optimizer = kind(model.parameters(), lr=config["lr"])
    running_loss = 0.0
    while True:
        for images, labels in loader:
            optimizer.zero_grad()
            loss = F.cross_entropy(model(images.to(device)), labels.to(device))
            loss.backward()
            optimizer.step()
            running_loss += loss.item()
            yield len(labels)


def _spread(values: list[float]) -> str:
    return f"{median(values):,.0f} ({min(values):,.0f} .. {max(values):,.0f})"


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--study", nargs="+", default=STUDIES, choices=STUDIES)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--record", action="store_true", help="write records/DATE-gpu.md")
    return parser.parse_args()


if __name__ == "__main__":
    main()

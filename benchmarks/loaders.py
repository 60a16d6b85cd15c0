"""Images that are loaded while a network trains: by hpo's Torch(...) and by a plain loop over a DataLoader.

    python -m benchmarks.loaders              two kinds of samples, five rounds, about three minutes
    ... --short                               few samples, one round
    ... --record                              also write records/DATE-loaders.md

Both train the same small network by autograd on batches of 64, loaded by two worker processes. The plain loop is what a
script has: a shuffled DataLoader, `zero_grad`, `backward`, `step`. Photographs are JPEGs decoded, cut at random and
mirrored by torchvision; the cheap samples are tensors, where nothing hides what hpo does for each of them.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

import psutil
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from torchvision import datasets as folders
from torchvision.transforms import v2

from benchmarks.folders import write_images
from benchmarks.recording import recorded
from hpo.data.sample_workers import Source
from hpo.data.streamed_set import ReadAhead, StreamedSet

BATCH, WORKERS = 64, 2


class Made(Dataset[tuple[Tensor, int]]):
    """Samples that cost next to nothing."""

    def __init__(self, count: int) -> None:
        self.images = torch.randn(count, 3, 64, 64)

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, number: int) -> tuple[Tensor, int]:
        return self.images[number], number % 2


def main() -> None:
    options = _options()
    torch.set_num_threads(1)
    count, rounds = (512, 1) if options.short else (options.images, options.rounds)
    with recorded(
        "loaders", "Images loaded while a network trains, by hpo's Torch(...) and a DataLoader", options.record
    ):
        print(f"{count} images, {rounds} rounds; images per second of an epoch, median (lowest .. highest)\n")
        print(f"{'':>26}{'hpo':>30}{'a DataLoader loop':>30}   hpo has")
        with tempfile.TemporaryDirectory() as place:
            write_images(Path(place), count, (500, 375), "jpg")
            _compare("500 x 375 JPEG, augmented", _photographs(Path(place)), rounds)
        _compare("tensors [3, 64, 64]", Made(8 * count), rounds)


def _photographs(place: Path) -> Dataset[Any]:
    steps = [v2.PILToTensor(), v2.RandomResizedCrop(64, antialias=True), v2.RandomHorizontalFlip()]
    return folders.ImageFolder(str(place), v2.Compose([*steps, v2.ToDtype(torch.float32, scale=True)]))


def _compare(name: str, samples: Dataset[Any], rounds: int) -> None:
    sides = {"hpo": _hpo(samples), "plain": _plain(samples)}
    speeds: dict[str, list[float]] = {side: [] for side in sides}
    for epochs in sides.values():
        epochs()  # the processes start, and so does what torch prepares
    for number in range(rounds):
        order = list(sides) if number % 2 == 0 else list(sides)[::-1]
        for side in order:
            start = perf_counter()
            speeds[side].append(sides[side]() / (perf_counter() - start))
    shown = "".join(f"{_shown(speeds[side]):>30}" for side in sides)
    print(f"{name:>26}{shown}   {median(speeds['hpo']) / median(speeds['plain']):.0%}")
    print(f"{'':>26} memory of the loading processes now: {_memory()}")


def _hpo(samples: Dataset[Any]) -> Callable[[], int]:
    from torch.utils.data import default_collate

    source = Source(samples, samples, default_collate, lambda batch: batch)
    data = StreamedSet(source, None, None, None, "", workers=WORKERS, device=torch.device("cpu"))
    ahead, step = ReadAhead(data, BATCH, training=True), _step()

    def epoch() -> int:
        batches = torch.randperm(len(data)).split(BATCH)
        ahead.expect(batches, seed=1)
        for index in batches:
            step(*ahead(index))
        return len(data)

    return epoch


def _plain(samples: Dataset[Any]) -> Callable[[], int]:
    loader = DataLoader(samples, BATCH, shuffle=True, num_workers=WORKERS, persistent_workers=True)
    step = _step()

    def epoch() -> int:
        for images, labels in loader:
            step(images, labels)
        return len(samples)  # type: ignore[arg-type]

    return epoch


def _step() -> Callable[[Tensor, Tensor], None]:
    network = nn.Sequential(
        nn.Conv2d(3, 8, 3, stride=2), nn.ReLU(), nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Linear(128, 2)
    )
    optimizer = torch.optim.SGD(network.parameters(), lr=0.01)

    def step(images: Tensor, labels: Tensor) -> None:
        nn.functional.cross_entropy(network(images), labels).backward()
        optimizer.step()
        optimizer.zero_grad()

    return step


def _memory() -> str:
    return ", ".join(f"{child.memory_info().rss / 1e6:,.0f} MB" for child in _children())


def _children() -> Iterator[psutil.Process]:
    yield from psutil.Process().children()


def _shown(figures: list[float]) -> str:
    return f"{median(figures):,.0f} ({min(figures):,.0f} .. {max(figures):,.0f})"


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.loaders")
    parser.add_argument("--images", type=int, default=3000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--short", action="store_true")
    parser.add_argument("--record", action="store_true")
    return parser.parse_args()


if __name__ == "__main__":
    main()

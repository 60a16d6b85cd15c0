"""A folder of images: the first epoch and the later ones, by hpo's ImageFolder and by torchvision's with a DataLoader.

    python -m benchmarks.folders              three folders, three rounds; of 3,000 images about five minutes
    ... --short                               few images, one round
    ... --record                              also write records/DATE-folders.md

Both make normalised float32 batches of 128 of the same files, and train nothing. torchvision has a worker per core,
which stay alive between epochs. The first epoch begins with nothing but the files: hpo's reads them for their digest,
decodes on every core and writes its cache. The files are in the system's cache for both.
"""

from __future__ import annotations

import argparse
import gc
import os
import tempfile
import warnings
from pathlib import Path
from statistics import median
from time import perf_counter

import numpy as np
import torch
from PIL import Image

from benchmarks.recording import recorded
from hpo.data import ImageFolder
from hpo.data.files import Folders
from hpo.data.image_set import ImageSet
from hpo.data.load import load_split, loader_options
from hpo.data.splits import channel_statistics
from hpo.trainers.devices import usable_cores
from hpo.training.device import open_device

BATCH = 128
EPOCHS = 3


def main() -> None:
    options = _options()
    warnings.filterwarnings("ignore", category=UserWarning)
    torch.set_num_threads(1)
    open_device("cpu")  # as a trainer begins: malloc keeps what a batch leaves; both sides gain
    gc.freeze()  # so does a trainer: a collection that walks through torch's own objects takes 0.1 s
    count, rounds = (600, 1) if options.short else (options.images, options.rounds)
    with recorded("folders", "A folder of images, by hpo and by torchvision's ImageFolder", options.record):
        print(f"{rounds} rounds; images per second, median (lowest .. highest)")
        for size, ending, wanted, many in (
            ((32, 32), "png", 32, count),
            ((500, 375), "jpg", 64, count),
            ((1600, 1200), "jpg", 128, count // 4),
        ):
            name = f"{many:,} of {size[0]} x {size[1]} {ending}, to {wanted} x {wanted}"
            with tempfile.TemporaryDirectory() as place:
                write_images(Path(place) / "images", many, size, ending)
                _compare(name, Path(place), wanted, rounds)
    gc.unfreeze()  # libraries complain at the end about what is left of theirs


def _compare(name: str, place: Path, size: int, rounds: int) -> None:
    sides = {"hpo": _hpo, "torchvision": _torchvision}
    speeds: dict[str, list[list[float]]] = {side: [] for side in sides}
    for number in range(rounds):
        for side, run in sides.items():
            speeds[side].append(run(place, size, number))
    print(f"\n{name}\n{'':>14}{'hpo':>36}{'torchvision':>36}   hpo is")
    for row, first in (("first epoch", True), ("later epochs", False)):
        figures = {
            side: [speed for one in rounds_ for speed in (one[:1] if first else one[1:])]
            for side, rounds_ in speeds.items()
        }
        shown = "".join(f"{_shown(figures[side]):>36}" for side in sides)
        print(f"{row:>14}{shown}   {median(figures['hpo']) / median(figures['torchvision']):.1f}x")


def _hpo(place: Path, size: int, number: int) -> list[float]:
    """Images per second of each epoch, with an empty home."""
    os.environ["HPO_HOME"] = str(place / f"home {number}")
    start = perf_counter()
    folder = ImageFolder(place / "images", size=size, test=0.01, validation=0.01)
    job = folder.for_trainer(folder.name)
    folders = Folders(None, Path(os.environ["HPO_HOME"]) / "cache")
    raw = load_split(folder.name, folder.loader, "train", folders, folder.shape, 2, loader_options(job))
    everything = torch.arange(len(raw.labels))
    images = ImageSet(raw.images, raw.labels, *channel_statistics(raw.images, everything))
    speeds = []
    for _ in range(EPOCHS):
        for index in torch.randperm(len(images)).split(BATCH):
            images.batch(index)
        speeds.append(len(images) / (perf_counter() - start))
        start = perf_counter()
    return speeds


def _torchvision(place: Path, size: int, number: int) -> list[float]:
    from torchvision import datasets, transforms

    start = perf_counter()
    steps = [
        transforms.Resize(size),
        transforms.CenterCrop(size),
        transforms.ToTensor(),
        transforms.Normalize((0.5,) * 3, (0.25,) * 3),
    ]
    images = datasets.ImageFolder(str(place / "images"), transforms.Compose(steps))
    loader = torch.utils.data.DataLoader(
        images, BATCH, shuffle=True, num_workers=usable_cores(), persistent_workers=True
    )
    speeds = []
    for _ in range(EPOCHS):
        for _batch in loader:
            pass
        speeds.append(len(images) / (perf_counter() - start))
        start = perf_counter()
    return speeds


def write_images(root: Path, count: int, size: tuple[int, int], ending: str) -> None:
    """Images of smooth colours with a little noise, which compress as photographs do, in two classes."""
    random = np.random.default_rng(0)
    for number in range(count):
        folder = root / f"class {number % 2}"
        folder.mkdir(parents=True, exist_ok=True)
        coarse = Image.fromarray(random.integers(0, 256, (8, 8, 3), dtype=np.uint8)).resize(
            size, Image.Resampling.BICUBIC
        )
        noisy = np.asarray(coarse).astype(np.int16) + random.integers(-6, 7, (size[1], size[0], 3))
        path = folder / f"{number}.{ending}"
        Image.fromarray(noisy.clip(0, 255).astype(np.uint8)).save(path)
        os.utime(path, (1e9, 1e9))  # as old as photographs are


def _shown(figures: list[float]) -> str:
    return f"{median(figures):,.0f} ({min(figures):,.0f} .. {max(figures):,.0f})"


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.folders")
    parser.add_argument("--images", type=int, default=6000, help="in a folder; of large photographs a quarter")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--short", action="store_true")
    parser.add_argument("--record", action="store_true")
    return parser.parse_args()


if __name__ == "__main__":
    main()

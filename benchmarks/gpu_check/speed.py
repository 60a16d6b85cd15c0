"""Images per second of a study's baseline: 1, 2, 4 and 8 of hpo's trainers on one GPU, a DataLoader script, and what an
expert writes without hpo (images on the device, batches by index, fused optimizer, no value read until the epoch ends).

hpo's side validates after each epoch within the time that counts; the other two only train.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from multiprocessing.connection import wait
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, Dataset, TensorDataset
from torchvision import transforms

from benchmarks.gpu_check import some_cifar10
from benchmarks.gpu_check.jobs import DEVICE, ON_GPU, Trainer, work_folder
from benchmarks.gpu_check.rows import tell
from hpo.data.files import Folders
from hpo.data.load import load_split
from hpo.messages import Epoch, Job, Ready
from hpo.models.build import build_model
from hpo.study.discovery import find_study
from hpo.trainers.devices import usable_cores
from hpo.trainers.jobs import study_job
from hpo.training.device import open_device, synchronize

TRAINERS = (1, 2, 4, 8) if ON_GPU else (1, 2)
SECONDS = 4.0 if ON_GPU else 2.0
TIMES_THE_SCRIPT = {"cnn_mnist": 20.0, "mlp_mnist": 20.0}
"""What the best number of trainers is to reach."""


def main(name: str) -> None:
    folder = work_folder()
    found = find_study(name)
    job = study_job(found, found.study.baseline_config)
    rules = replace(
        job.protocol, epochs=1_000_000, early_stopping=None, stop_when=None, subset=None if ON_GPU else 2000
    )
    job = replace(job, protocol=rules, sys_path=list(found.sys_path))
    if job.dataset["name"] == "cifar10":
        job = replace(job, dataset={**job.dataset, **some_cifar10.described()})
    images, labels = _images(job, folder)
    device = open_device(DEVICE)
    script = _rate(_script(job, images, labels, device), device)
    tell(f"{name}, DataLoader script", None, f"{script:,.0f} images/s")
    remedies = _rate(_remedies(job, images, labels, device), device)
    tell(f"{name}, an expert's script", None, f"{remedies:,.0f} images/s, {remedies / script:.1f}x")
    count = round((rules.subset or len(images)) * (1 - float(job.dataset["validation"])))
    best = 0.0
    for number, epochs in _trainers(job):
        rate = epochs * count
        trials = 3600 * epochs / found.study.epochs
        shown = (
            f"{rate:,.0f} images/s, {rate / script:.1f}x; {trials:,.0f} trials of {found.study.epochs} epochs an hour"
        )
        tell(f"{name}, hpo with {number} trainers", None, shown)
        best = max(best, rate)
    if not best:
        tell(f"{name}: hpo's trainers answer", False if ON_GPU else None, "none finished an epoch within half a minute")
        return
    if wanted := TIMES_THE_SCRIPT.get(name):
        tell(
            f"{name}: at least {wanted:.0f}x the script",
            best >= wanted * script if ON_GPU else None,
            f"{best / script:.1f}x",
        )
    tell(f"{name}: no slower than an expert's", best >= remedies if ON_GPU else None, f"{best / remedies:.1f}x")


def _images(job: Job, folder: Path) -> tuple[torch.Tensor, torch.Tensor]:
    source = os.environ.get("HPO_DATA_DIR")
    folders = Folders(Path(source) if source else None, folder / "cache")
    shape, classes = tuple(job.dataset["shape"]), len(job.dataset["classes"])
    raw = load_split(job.dataset["name"], job.dataset["loader"], "train", folders, shape, classes)
    return raw.images, raw.labels


def _trainers(job: Job) -> Iterator[tuple[int, float]]:
    """(how many train at once, their epochs per second together), all with the same share of the memory."""
    trainers = [Trainer(share=1.0 / max(TRAINERS)) for _ in range(max(TRAINERS))]
    try:
        if not all(isinstance(trainer.receive(60.0), Ready) for trainer in trainers):
            return
        begun = 0
        for number in TRAINERS:
            for trainer in trainers[begun:number]:
                trainer.process.send(job)
            if not all(isinstance(trainer.receive(30.0), Epoch) for trainer in trainers[begun:number]):
                return
            begun = number
            yield number, _epochs_per_second(trainers[:number])
    finally:
        for trainer in trainers:
            trainer.end()


def _epochs_per_second(trainers: list[Trainer]) -> float:
    """Of all together, each from one end of an epoch to another, over SECONDS or three times as long."""
    connections = [trainer.process.connection for trainer in trainers]
    while wait(connections, 0):  # what came before
        for connection in wait(connections, 0):
            connection.recv_bytes()  # type: ignore[union-attr]
    ends: dict[object, list[float]] = {connection: [] for connection in connections}
    begun = time.perf_counter()
    while (passed := time.perf_counter() - begun) < SECONDS or (
        passed < 3 * SECONDS and any(len(times) < 2 for times in ends.values())
    ):
        for connection in wait(connections, 0.1):
            connection.recv_bytes()  # type: ignore[union-attr]
            ends[connection].append(time.perf_counter())
    return sum((len(times) - 1) / (times[-1] - times[0]) for times in ends.values() if len(times) > 1)


def _rate(steps: Iterator[int], device: torch.device) -> float:
    """Images per second, after the first second."""
    images, begun = 0, time.perf_counter()
    while time.perf_counter() - begun < 1.0:
        next(steps)
    synchronize(device)
    begun = time.perf_counter()
    while time.perf_counter() - begun < SECONDS:
        images += next(steps)
    synchronize(device)
    return images / (time.perf_counter() - begun)


def _network(job: Job, device: torch.device) -> nn.Module:
    own = {name: job.config[name] for name in job.model["reads"] if name in job.config}
    shape: tuple[int, int, int] = tuple(job.dataset["shape"])
    return build_model(job.model["builder"], shape, len(job.dataset["classes"]), own).to(device)


class Pictures(Dataset[tuple[torch.Tensor, int]]):
    """As people write it: a PIL image and torchvision's transforms for every image of every epoch."""

    def __init__(self, images: torch.Tensor, labels: torch.Tensor, transform: Callable[[object], torch.Tensor]) -> None:
        self._pictures = [transforms.functional.to_pil_image(image) for image in images[: 20_000 if ON_GPU else 2_000]]
        self._labels, self._transform = labels, transform

    def __len__(self) -> int:
        return len(self._pictures)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        return self._transform(self._pictures[index]), int(self._labels[index])


def _script(job: Job, images: torch.Tensor, labels: torch.Tensor, device: torch.device) -> Iterator[int]:
    channels = images.shape[1]
    steps: list[object] = [transforms.ToTensor(), transforms.Normalize((0.5,) * channels, (0.25,) * channels)]
    if job.config.get("crop_padding"):
        steps = [transforms.RandomCrop(32, 4), transforms.RandomHorizontalFlip(), transforms.RandomRotation(15), *steps]
    data = Pictures(images, labels, transforms.Compose(steps))
    loader = DataLoader(
        data,
        job.config["batch_size"],
        shuffle=True,
        num_workers=min(4, usable_cores()),
        pin_memory=ON_GPU,
        persistent_workers=True,
    )
    model = _network(job, device)
    kind = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW, "sgd": torch.optim.SGD}[job.config["optimizer"]]
    optimizer = kind(model.parameters(), lr=job.config["lr"])
    running = 0.0
    while True:
        for inputs, targets in loader:
            optimizer.zero_grad()
            loss = F.cross_entropy(model(inputs.to(device)), targets.to(device))
            loss.backward()
            optimizer.step()
            running += loss.item()
            yield len(targets)


def _remedies(job: Job, images: torch.Tensor, labels: torch.Tensor, device: torch.device) -> Iterator[int]:
    data = TensorDataset(((images.to(device).float() / 255.0) - 0.5) / 0.25, labels.to(device))
    inputs, targets = data.tensors
    model = _network(job, device)
    kind = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW, "sgd": torch.optim.SGD}[job.config["optimizer"]]
    optimizer = kind(model.parameters(), lr=job.config["lr"], fused=True)
    bf16 = job.config.get("precision") == "bf16"
    running = torch.zeros((), device=device)
    while True:
        for index in torch.randperm(len(inputs), device=device).split(job.config["batch_size"]):
            batch = inputs[index]
            if job.config.get("flip"):
                batch = torch.where(torch.rand(len(batch), 1, 1, 1, device=device) < 0.5, batch.flip(3), batch)
            optimizer.zero_grad()
            with torch.autocast(device.type, torch.bfloat16, enabled=bf16):
                loss = F.cross_entropy(model(batch), targets[index])
            loss.backward()
            optimizer.step()
            running += loss.detach()
            yield len(index)


if __name__ == "__main__":
    main(sys.argv[1])
    sys.stdout.flush()
    os._exit(0)

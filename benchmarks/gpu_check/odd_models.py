"""Models of the kinds that a recording, or a GPU, takes badly; for images [1, 8, 8] of the digits."""

from __future__ import annotations

import random

import torch
from torch import Tensor, nn

__all__ = ["LAST", "HostChoice", "host_choice", "out_of_range", "reads_a_value"]


class ReadsAValue(nn.Module):
    """Reads a number in its forward pass, which cannot be recorded."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(64, 10)

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.linear(images.flatten(1))
        return logits * 0.5 if images.device.type != "meta" and logits.abs().max().item() > 1e6 else logits


def reads_a_value(shape: tuple[int, ...], classes: int) -> nn.Module:
    return ReadsAValue()


class HostChoice(nn.Module):
    """Drops a layer at random, decided on the host; `taken` counts on the device in how many `steps` it did not."""

    def __init__(self) -> None:
        super().__init__()
        self.inner, self.outer = nn.Linear(64, 64), nn.Linear(64, 10)
        self.taken: Tensor
        self.steps: Tensor
        for name in ("taken", "steps"):
            self.register_buffer(name, torch.zeros(()), persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        features = images.flatten(1)
        if self.training and images.device.type != "meta":
            self.steps += 1
        if self.training and images.device.type != "meta" and random.random() < 0.5:
            features = features + self.inner(features)
            self.taken += 1
        logits: Tensor = self.outer(features)
        return logits


LAST: list[HostChoice] = []


def host_choice(shape: tuple[int, ...], classes: int) -> nn.Module:
    LAST[:] = [HostChoice()]
    return LAST[0]


class OutOfRange(nn.Module):
    """Looks up a row that its table does not have: on a GPU an assertion in a kernel."""

    def __init__(self) -> None:
        super().__init__()
        self.table, self.outer = nn.Embedding(10, 64), nn.Linear(64, 10)

    def forward(self, images: Tensor) -> Tensor:
        features = images.flatten(1)
        row = features.argmax(1) + (0 if images.device.type == "meta" else 1000)
        logits: Tensor = self.outer(features + self.table(row))
        return logits


def out_of_range(shape: tuple[int, ...], classes: int) -> nn.Module:
    return OutOfRange()

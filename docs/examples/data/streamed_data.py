"""Small made pictures as torch Datasets, with torchvision's transforms; and a network that reads them."""

import torch
from torch import nn
from torch.utils.data import Dataset
from torchvision.transforms import v2


class Squares(Dataset):
    """A light square on dark noise, at the left or at the right. Each picture is made when it is asked for."""

    def __init__(self, split, transform):
        self.first = {"train": 0, "test": 1_000_000}[split]
        self.targets = [number % 2 for number in range({"train": 400, "test": 100}[split])]
        self.transform = transform

    def __len__(self):
        return len(self.targets)

    def __getitem__(self, number):
        random = torch.Generator().manual_seed(self.first + number)
        picture = torch.randint(0, 100, (3, 16, 16), dtype=torch.uint8, generator=random)
        left = 1 + 8 * self.targets[number]
        picture[:, 5:11, left : left + 6] += 60
        return self.transform(picture), self.targets[number]


def datasets(split, folders, training):
    scale = [v2.ToDtype(torch.float32, scale=True), v2.Normalize([0.3] * 3, [0.2] * 3)]
    steps = [v2.RandomVerticalFlip(), v2.RandomCrop(16, padding=1)] if training else []
    return Squares(split, v2.Compose([*steps, *scale]))


def build(shape, classes, width):
    return nn.Sequential(
        nn.Conv2d(shape[0], width, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(4), nn.Flatten(),
        nn.Linear(16 * width, classes),
    )  # fmt: skip

"""Sentences as the numbers of their words, with the length of each; and a network that reads both. Made data."""

import torch
from torch import nn

from hpo.data import Samples

WORDS, LENGTH = 50, 12


def load(split, folders):
    random = torch.Generator().manual_seed({"train": 0, "test": 1}[split])
    count = {"train": 600, "test": 150}[split]
    words = torch.randint(1, WORDS, (count, LENGTH), generator=random)
    lengths = torch.randint(4, LENGTH + 1, (count, 1), generator=random)
    words[torch.arange(LENGTH) >= lengths] = 0  # 0 fills up
    praise = (words > 30).sum(1) > (words.bool() & (words <= 20)).sum(1) / 2
    writers = torch.arange(count) // 5  # five sentences each: no writer is on both sides of the validation split
    return Samples({"words": words, "length": lengths.float()}, praise.long(), groups=writers)


class Sentence(nn.Module):
    def __init__(self, classes, width):
        super().__init__()
        self.words = nn.Embedding(WORDS, width, padding_idx=0)
        self.out = nn.Linear(width + 1, classes)

    def forward(self, inputs):
        mean = self.words(inputs["words"]).sum(1) / inputs["length"].clamp(min=1)
        return self.out(torch.cat([mean, inputs["length"] / LENGTH], dim=1))


def build(shape, classes, width):  # shape is {"words": (12,), "length": (1,)}
    return Sentence(classes, width)

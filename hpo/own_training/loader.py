"""A DataLoader whose order depends on the run's seed and on the epoch, and on nothing that was drawn before."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any

import torch
from torch.utils.data import DataLoader

__all__ = ["EpochLoader", "loader_seed"]


class EpochLoader(DataLoader[Any]):
    """A DataLoader that shuffles each epoch by a seed of its own, so that a resumed run sees the order it would have.

    Take one by `run.loader(dataset, batch_size=..., shuffle=True, ...)`; it takes what DataLoader takes.
    """

    def __init__(
        self, dataset: Any, *, seed: Callable[[], int], look: Callable[[], None], at_most: int | None, **options: Any
    ) -> None:
        """seed: of the pass that begins now; look: called before each batch; at_most: batches of a rehearsal"""
        if "generator" in options:
            raise TypeError("run.loader seeds its generator itself, for each epoch; leave generator out")
        self._seed, self._look, self._at_most = seed, look, at_most
        super().__init__(dataset, generator=torch.Generator(), **options)

    def __iter__(self) -> Iterator[Any]:  # type: ignore[override]
        self.generator.manual_seed(self._seed())
        for batch in islice(super().__iter__(), self._at_most):
            self._look()
            yield batch


def loader_seed(*parts: int) -> int:
    """63 bits that follow from `parts` alone."""
    text = ",".join(map(str, parts)).encode()
    return int.from_bytes(hashlib.sha256(text).digest()[:8], "big") >> 1

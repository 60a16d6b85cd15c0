"""A DataLoader whose order depends on the run's seed and on the epoch, and on nothing that was drawn before."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from itertools import cycle, islice
from typing import Any

import torch
from torch.utils.data import DataLoader

__all__ = ["REHEARSED_BATCHES", "EpochLoader", "RankBatches", "loader_seed"]


REHEARSED_BATCHES = 3
"""Of each pass of a loader while `hpo check` tries the function."""


class EpochLoader(DataLoader[Any]):
    """A DataLoader that shuffles each epoch by a seed of its own, so that a resumed run sees the order it would have.

    Take one by `run.loader(dataset, batch_size=..., shuffle=True, ...)`; it takes what DataLoader takes.
    """

    def __init__(
        self,
        dataset: Any,
        *,
        seed: Callable[[], int],
        look: Callable[[], None],
        at_most: int | None,
        order: torch.Generator | None = None,
        **options: Any,
    ) -> None:
        """seed: of the pass that begins now; look: called before each batch; at_most: batches of a rehearsal;
        order: the loader's generator, where a sampler of hpo's draws from it too"""
        if "generator" in options:
            raise TypeError("run.loader seeds its generator itself, for each epoch; leave generator out")
        self._seed, self.look, self._at_most = seed, look, at_most
        super().__init__(dataset, generator=order or torch.Generator(), **options)

    def __iter__(self) -> Iterator[Any]:  # type: ignore[override]
        self.generator.manual_seed(self._seed())
        for batch in islice(super().__iter__(), self._at_most):
            self.look()
            yield batch


class RankBatches:
    """The part of one rank of every batch of indices that `sampler` gives, for a DataLoader's batch_sampler.

    size: of a whole batch; ValueError if the ranks cannot divide it. All ranks get as many batches, of as many indices.
    """

    def __init__(self, sampler: Any, size: int, *, drop_last: bool, rank: int, ranks: int) -> None:
        if size % ranks:
            raise ValueError(f"run.loader(batch_size={size}): {ranks} devices cannot divide a batch of {size} evenly")
        self._sampler, self._size, self._drop_last = sampler, size, drop_last
        self._rank, self._ranks = rank, ranks

    def __iter__(self) -> Iterator[list[int]]:
        indices = list(self._sampler)
        for start in range(0, len(indices), self._size):
            batch = indices[start : start + self._size]
            if len(batch) == self._size or not self._drop_last:
                missing = -len(batch) % self._ranks
                yield [*batch, *islice(cycle(indices), missing)][self._rank :: self._ranks]

    def __len__(self) -> int:
        whole, rest = divmod(len(self._sampler), self._size)
        return whole + (rest > 0 and not self._drop_last)


def loader_seed(*parts: int) -> int:
    """63 bits that follow from `parts` alone."""
    text = ",".join(map(str, parts)).encode()
    return int.from_bytes(hashlib.sha256(text).digest()[:8], "big") >> 1

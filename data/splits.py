"""Stratified splits, folds and subsets: the same for the same seed on every machine, and the statistics of a part.

The permutations come from numpy's RandomState, whose stream is frozen (NEP 19); torch.randperm does not promise that.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hpo.errors import StudyError

__all__ = ["channel_statistics", "folds", "folds_apart", "split", "split_apart", "subset"]

Index = NDArray[np.int64]


def split(labels: Tensor, fraction: float, seed: int) -> tuple[Tensor, Tensor]:
    """(train, validation): sorted int64 indices into labels [N], disjoint, together all of them.

    Validation holds round(fraction * N) of them, each class its share to within one. Raises StudyError unless
    0 < fraction < 1 leaves something on both sides.
    """
    count = round(fraction * len(labels)) if 0 < fraction < 1 else 0
    if not 0 < count < len(labels):
        raise StudyError(f"validation={fraction:g} of {len(labels)} images leaves nothing to train or to validate on")
    held_out = _stratified_draw(_by_class(labels, seed), count)
    everything = np.arange(len(labels), dtype=np.int64)
    return _tensor(np.setdiff1d(everything, held_out, assume_unique=True)), _tensor(held_out)


def split_apart(labels: Tensor, groups: Tensor, fraction: float, seed: int) -> tuple[Tensor, Tensor]:
    """As `split`, where the samples of one group (groups int64 [N]) stay on one side; every class of two groups or more
    is on both.

    Shares are as near to `fraction` as whole groups allow.
    """
    members = _tables(labels, groups, seed)
    sizes = members.tables.sum(0)
    wanted, held = fraction * sizes, np.zeros(len(sizes))
    taken = np.zeros(len(members.tables), bool)
    for at in members.order:
        more = held + members.tables[at]
        if (((more - wanted) ** 2 - (held - wanted) ** 2) / sizes).sum() < 0:
            taken[at], held = True, more
    for label in np.flatnonzero(held == 0):
        of_class = [at for at in members.order if members.tables[at][label]]
        if len(of_class) > 1:
            taken[of_class[-1]] = True  # the smallest
    held_out = taken[members.number]
    if held_out.all() or not held_out.any():
        raise StudyError(f"{fraction:g} of {len(taken)} groups leaves nothing to train or to validate on")
    return _tensor(np.flatnonzero(~held_out)), _tensor(np.flatnonzero(held_out))


def folds_apart(labels: Tensor, groups: Tensor, k: int, seed: int) -> list[tuple[Tensor, Tensor]]:
    """As `folds`, where the samples of one group (groups int64 [N]) validate together."""
    members = _tables(labels, groups, seed)
    if not 2 <= k <= len(members.tables):
        raise StudyError(f"folds={k} must be at least 2 and at most the number of groups, {len(members.tables)}")
    sizes, held = members.tables.sum(0), np.zeros((k, members.tables.shape[1]))
    fold_of = np.zeros(len(members.tables), np.int64)
    for at in members.order:  # to where it adds least to what is there already
        cost = ((2 * held + members.tables[at]) * members.tables[at] / sizes**2).sum(1) + 1e-9 * held.sum(1)
        fold_of[at] = int(cost.argmin())
        held[fold_of[at]] += members.tables[at]
    of_sample = fold_of[members.number]
    return [(_tensor(np.flatnonzero(of_sample != f)), _tensor(np.flatnonzero(of_sample == f))) for f in range(k)]


def folds(labels: Tensor, k: int, seed: int) -> list[tuple[Tensor, Tensor]]:
    """`k` pairs (train, validation) of sorted int64 indices; every image of labels [N] validates exactly once.

    Folds differ by at most one image, overall and in each class. Raises StudyError unless 2 <= k <= N.
    """
    if not 2 <= k <= len(labels):
        raise StudyError(f"folds={k} must be at least 2 and at most the number of images, {len(labels)}")
    # Dealing the classes out one after the other like cards balances each class and the whole at once.
    dealt = np.concatenate(_by_class(labels, seed))
    parts = [np.sort(dealt[fold::k]) for fold in range(k)]
    return [
        (_tensor(np.sort(np.concatenate([*parts[:fold], *parts[fold + 1 :]]))), _tensor(parts[fold]))
        for fold in range(k)
    ]


def subset(index: Tensor, labels: Tensor, n: int, seed: int) -> Tensor:
    """`n` of `index` (int64, into labels [N]), each class its share to within one, sorted; all of it when n is larger.

    Raises StudyError for n < 1.
    """
    if n < 1:
        raise StudyError(f"subset={n} must be at least 1")
    if n >= len(index):
        return index.sort().values
    drawn = _stratified_draw(_by_class(labels[index], seed), n)
    return index[_tensor(drawn)].sort().values


def channel_statistics(images: Tensor, index: Tensor) -> tuple[Tensor, Tensor]:
    """(mean [C], standard deviation [C]) in float32, on the scale 0..1, over images[index]; images uint8 [N, C, H, W].

    A constant channel gets a deviation of 1, so that normalising it gives zeros. How often each of the 256 values
    occurs is exact, so the order of counting and the number of threads change nothing.
    """
    if len(index) == 0:
        raise StudyError("there are no images to take mean and deviation of")
    occurs = torch.zeros(images.shape[1], 256, dtype=torch.int64, device=images.device)
    for rows in index.split(512):
        part = images.index_select(0, rows)
        for channel, counts in enumerate(occurs):
            counts += torch.bincount(part[:, channel].flatten(), minlength=256)
    value = torch.arange(256, device=images.device)
    totals, squares = (occurs * value).sum(1), (occurs * value * value).sum(1)
    return _mean_and_deviation(totals.tolist(), squares.tolist(), len(index) * images[0, 0].numel())


def _mean_and_deviation(totals: list[int], squares: list[int], pixels: int) -> tuple[Tensor, Tensor]:
    means, deviations = [], []
    for total, square in zip(totals, squares, strict=True):
        spread = square * pixels - total * total  # exact: these are Python's integers
        means.append(total / pixels / 255)
        deviations.append(math.sqrt(spread) / pixels / 255 if spread else 1.0)
    return torch.tensor(means), torch.tensor(deviations)


class _Members(NamedTuple):
    """Groups by number: number [N] of each sample's; tables [G, classes] of how many it has of each class; order: the
    numbers, the largest group first and equal ones shuffled."""

    number: Index
    tables: NDArray[np.float64]
    order: list[int]


def _tables(labels: Tensor, groups: Tensor, seed: int) -> _Members:
    _, number = np.unique(groups.cpu().numpy(), return_inverse=True)
    _, label = np.unique(labels.cpu().numpy(), return_inverse=True)
    tables = np.zeros((int(number.max()) + 1, int(label.max()) + 1))
    np.add.at(tables, (number, label), 1)
    shuffled = _random(seed).permutation(len(tables))
    order = shuffled[np.argsort(-tables.sum(1)[shuffled], kind="stable")]
    return _Members(number.astype(np.int64), tables, order.tolist())


def _random(seed: int) -> np.random.RandomState:
    if seed < 0:
        raise StudyError(f"seed={seed} must not be negative")
    return np.random.RandomState(np.random.MT19937(np.random.SeedSequence(seed)))


def _by_class(labels: Tensor, seed: int) -> list[Index]:
    """The positions of each class, shuffled, in label order."""
    values = labels.cpu().numpy()
    random = _random(seed)
    return [random.permutation(np.flatnonzero(values == label)).astype(np.int64) for label in np.unique(values)]


def _stratified_draw(classes: list[Index], count: int) -> Index:
    """`count` positions, sorted: of each class the first of its share, shares rounded by largest remainder."""
    sizes = np.array([len(positions) for positions in classes], dtype=np.int64)
    share = sizes * (count / sizes.sum())
    take = np.floor(share).astype(np.int64)
    short = count - int(take.sum())
    take[np.argsort(take - share, kind="stable")[:short]] += 1
    return np.sort(np.concatenate([positions[:n] for positions, n in zip(classes, take, strict=True)]))


def _tensor(index: Index) -> Tensor:
    return torch.from_numpy(index.astype(np.int64))

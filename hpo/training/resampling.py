"""How far the choice of the test items moves a score: the bootstrap over them (B. Efron, 1979)."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from statistics import stdev
from time import perf_counter
from typing import Any

import torch
from torch import Tensor

__all__ = ["RESAMPLES", "resampled", "spread_of", "spreads_of"]

RESAMPLES = 200
"""The deviation of 200 has an error of 5 %, which is little beside that of a few runs."""

MOST_SECONDS = 0.1
"""A score that takes longer is not resampled: 200 of it would take longer than many a training."""


def resampled(count: int, device: torch.device) -> Iterator[Tensor]:
    """RESAMPLES times int64 [count]: items drawn with replacement, the same each time."""
    random = torch.Generator().manual_seed(count)
    for _ in range(RESAMPLES):
        yield torch.randint(0, count, (count,), generator=random).to(device)


def spread_of(score: Callable[[Tensor], Any], count: int, device: torch.device) -> float | None:
    """The deviation of `score(index)`, one number, over resamples of `count` items.

    None where it is no number for some of them, as a resample may lack a class, and where it takes MOST_SECONDS.
    """
    try:
        (found,) = spreads_of(lambda index: torch.as_tensor(float(score(index))).view(1), count, device)
    except Exception:  # noqa: BLE001 - a metric is the user's code, and may refuse a resample in its own way
        return None
    return found


def spreads_of(scores: Callable[[Tensor], Tensor], count: int, device: torch.device) -> list[float | None]:
    """The same of several: `scores(index)` is [K], and so is what comes back."""
    rows: list[list[float]] = []
    for index in resampled(count, device):
        begun = perf_counter()
        rows.append(scores(index).tolist())
        if len(rows) == 2 and perf_counter() - begun > MOST_SECONDS:  # the first call may have prepared something
            return [None] * len(rows[0])
    columns = list(zip(*rows, strict=True))
    return [stdev(column) if all(map(math.isfinite, column)) else None for column in columns]

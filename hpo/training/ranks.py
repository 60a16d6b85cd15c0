"""The processes that train one trial together, one on each of its devices: what they tell each other and add up.

Every method is a collective: all ranks call it, in the same order, or those that do wait until their patience ends.
"""

from __future__ import annotations

import ctypes
import signal
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

__all__ = ["Ranks", "end_with_parent", "is_of_peers", "joined"]

_PR_SET_PDEATHSIG = 1  # <linux/prctl.h>

_joined = False


class Ranks:
    """This process is `rank` (from 0) of `size`. Numbers on the CPU go over gloo, tensors of a GPU over NCCL."""

    def __init__(self, rank: int, size: int) -> None:
        self.rank, self.size = rank, size

    @classmethod
    def join(cls, rank: int, size: int, meeting: Path, device: torch.device, patience_seconds: float) -> Ranks:
        """Wait until all ranks have joined. Raises RuntimeError if they do not come.

        meeting: a file that nobody has used before; patience_seconds: how long any rank ever waits for the others
        """
        global _joined
        backend = "gloo" if device.type == "cpu" else "cpu:gloo,cuda:nccl"
        dist.init_process_group(
            backend,
            init_method=f"file://{meeting}",
            rank=rank,
            world_size=size,
            timeout=timedelta(seconds=patience_seconds),
        )
        _joined = True
        return cls(rank, size)

    def agree(self, wish: int) -> int:
        """The largest wish of all ranks, as each of them gets it."""
        wishes = torch.tensor([wish])
        dist.all_reduce(wishes, dist.ReduceOp.MAX)
        return int(wishes)

    def share(self, value: Any) -> list[Any]:
        """What each rank has given, in the order of ranks: anything that can be pickled."""
        values: list[Any] = [None] * self.size
        dist.all_gather_object(values, value)
        return values

    def check_same(self, what: str, value: Any) -> None:
        """Raise RanksDiffer unless every rank gives the same."""
        values = self.share(value)
        if any(one != values[0] for one in values):
            raise RanksDiffer(f"{what} differs between the ranks: {', '.join(map(str, values))}")

    def part(self, index: Tensor) -> Tensor:
        """This rank's part of a batch, int64 [N]: none has a single image, on which batch normalisation cannot train,
        unless the batch is one. So with small batches the last ranks get nothing."""
        parts = index.tensor_split(max(1, min(self.size, len(index) // 2)))
        return parts[self.rank] if self.rank < len(parts) else index[:0]

    def add_up(self, tensors: Sequence[Tensor]) -> None:
        """Replace each of `tensors` by its sum over the ranks, bit for bit the same on all. Shapes are alike."""
        for dtype in dict.fromkeys(tensor.dtype for tensor in tensors):
            alike = [tensor for tensor in tensors if tensor.dtype == dtype]
            flat = torch.cat([tensor.reshape(-1) for tensor in alike])
            dist.all_reduce(flat)
            for tensor, part in zip(alike, flat.split([tensor.numel() for tensor in alike]), strict=True):
                tensor.copy_(part.view_as(tensor))

    def take_first(self, tensors: Sequence[Tensor]) -> None:
        """Replace each of `tensors` by that of rank 0."""
        for tensor in tensors:
            dist.broadcast(tensor.detach(), 0)


class RanksDiffer(RuntimeError):
    """The ranks are not where the others are: nothing that they train together would be right."""


def joined() -> bool:
    """Whether this process is one of several that train together."""
    return _joined


def is_of_peers(error: BaseException) -> bool:
    """Whether `error` says that another rank is gone, or did not come in time: the cause is there, and not here."""
    if not _joined:
        return False
    chain: BaseException | None = error
    while chain is not None:
        said = str(chain)
        if isinstance(chain, dist.DistError | RanksDiffer) or "gloo" in said or "NCCL" in said:
            return True
        chain = chain.__cause__ or chain.__context__
    return False


def end_with_parent() -> None:
    """Have the kernel kill this process when the one that started it ends, whatever this one is doing then."""
    prctl = getattr(ctypes.CDLL(None), "prctl", None)
    if prctl is not None:  # Linux
        prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)

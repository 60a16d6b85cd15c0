"""How far the host runs ahead of a GPU: far enough to keep it busy, and near enough to hear a request to stop."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from time import perf_counter
from typing import Protocol

import torch

__all__ = ["Backlog"]

AHEAD_SECONDS = 0.05
"""Of work between two marks in the queue of the device. Up to three marks are there."""
MARKS = 3
MOST_STEPS = 256


class Mark(Protocol):
    """A torch.cuda.Event: it has passed once the device has done all that was queued before it."""

    def record(self) -> None: ...

    def synchronize(self) -> None: ...


class Backlog:
    """Call `queued` after every step. It waits where the device is more than three marks of 50 ms behind.

    A thousand recorded steps fit into a device's queue: seconds of work, which a trial that is to stop would wait for.
    """

    def __init__(
        self,
        mark: Callable[[], Mark] = lambda: torch.cuda.Event(blocking=True),
        clock: Callable[[], float] = perf_counter,
    ) -> None:
        self._mark, self._clock = mark, clock
        self._marks: deque[tuple[Mark, int]] = deque()  # each with the steps since the one before
        self._steps, self._every = 0, 1
        self._waited_at = clock()

    def queued(self) -> None:
        self._steps += 1
        if self._steps < self._every:
            return
        mark = self._mark()
        mark.record()
        self._marks.append((mark, self._steps))
        self._steps = 0
        if len(self._marks) > MARKS:
            mark, steps = self._marks.popleft()
            mark.synchronize()
            self._adapt(steps)

    def _adapt(self, steps: int) -> None:
        """As many steps between two marks as the device does in AHEAD_SECONDS: it has just done so many `steps`."""
        now = self._clock()
        seconds, self._waited_at = now - self._waited_at, now
        fitting = steps * AHEAD_SECONDS / max(seconds, 1e-6)
        self._every = max(1, min(round(fitting), 2 * self._every, MOST_STEPS))

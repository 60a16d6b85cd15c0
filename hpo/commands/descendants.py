"""Every process below this one, also one that left its group or lost its parent, and the end of them all.

A process whose parent ends becomes a child of the nearest one above that asked for it (a "subreaper"), so nothing that
a program starts can leave the tree.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import time
from collections import defaultdict
from collections.abc import Iterable, Sequence

__all__ = ["adopt_orphans", "descendants", "end_descendants", "end_leftovers", "runs"]

_PR_SET_CHILD_SUBREAPER = 36  # <linux/prctl.h>; since Linux 3.4
PATIENCE_SECONDS = 5.0
"""How long a killed process may take to go. One that waits for a device or a dead network disk takes longer."""
LEFTOVER_SECONDS = 0.3
"""From SIGTERM to SIGKILL for what training left running. The coordinator waits half a second for a trainer to go."""
_TRACKER = b"resource_tracker"
"""Python's and joblib's: one ends by itself after those whose files in /dev/shm it then removes."""


def adopt_orphans() -> None:
    """Become the parent of every process below this one that loses its own."""
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def descendants(of: int | None = None) -> list[int]:
    """The processes below `of`, or this one, that still run, parents first."""
    children: dict[int, list[int]] = defaultdict(list)
    for name in os.listdir("/proc"):
        if name.isdigit():
            with contextlib.suppress(OSError, ValueError):
                with open(f"/proc/{name}/stat", "rb") as file:
                    state, parent = file.read().rpartition(b")")[2].split()[:2]  # a program's name may hold anything
                if state not in (b"Z", b"X"):
                    children[int(parent)].append(int(name))
    found = [os.getpid() if of is None else of]
    for pid in found:
        found += children[pid]
    return found[1:]


def end_descendants(patience_seconds: float = PATIENCE_SECONDS) -> bool:
    """Kill every process below this one. False where one does not go."""
    limit = time.monotonic() + patience_seconds
    while left := descendants():  # again: one of them may just have started another
        _signal(left, signal.SIGKILL)
        if time.monotonic() > limit:
            return False
        time.sleep(0.005)
    return True


def end_leftovers(left: Sequence[int] | None = None) -> None:
    """SIGTERM for `left`, or all below this process, and SIGKILL for those that are there a moment later.

    A training's pool of workers waits for its next task, with its memory and its terminal, when the trainer is gone.
    """
    left = [pid for pid in (descendants() if left is None else left) if not _is_tracker(pid)]
    _signal(left, signal.SIGTERM)
    limit = time.monotonic() + LEFTOVER_SECONDS
    while (left := [pid for pid in left if runs(pid)]) and time.monotonic() < limit:
        time.sleep(0.02)
    _signal(left, signal.SIGKILL)


def _signal(pids: Iterable[int], number: int) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, number)


def runs(pid: int) -> bool:
    """Whether there is a process of that number that has not ended."""
    with contextlib.suppress(OSError), open(f"/proc/{pid}/stat", "rb") as file:
        return file.read().rpartition(b")")[2].split()[0] not in (b"Z", b"X")
    return False


def _is_tracker(pid: int) -> bool:
    with contextlib.suppress(OSError), open(f"/proc/{pid}/cmdline", "rb") as file:
        return _TRACKER in file.read()
    return False

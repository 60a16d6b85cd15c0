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

__all__ = ["adopt_orphans", "descendants", "end_descendants"]

_PR_SET_CHILD_SUBREAPER = 36  # <linux/prctl.h>; since Linux 3.4
PATIENCE_SECONDS = 5.0
"""How long a killed process may take to go. One that waits for a device or a dead network disk takes longer."""


def adopt_orphans() -> None:
    """Become the parent of every process below this one that loses its own."""
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def descendants() -> list[int]:
    """The processes below this one that still run, parents first."""
    children: dict[int, list[int]] = defaultdict(list)
    for name in os.listdir("/proc"):
        if name.isdigit():
            with contextlib.suppress(OSError, ValueError):
                with open(f"/proc/{name}/stat", "rb") as file:
                    state, parent = file.read().rpartition(b")")[2].split()[:2]  # a program's name may hold anything
                if state not in (b"Z", b"X"):
                    children[int(parent)].append(int(name))
    found = [os.getpid()]
    for pid in found:
        found += children[pid]
    return found[1:]


def end_descendants(patience_seconds: float = PATIENCE_SECONDS) -> bool:
    """Kill every process below this one. False where one does not go."""
    limit = time.monotonic() + patience_seconds
    while left := descendants():  # again: one of them may just have started another
        for pid in left:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        if time.monotonic() > limit:
            return False
        time.sleep(0.005)
    return True

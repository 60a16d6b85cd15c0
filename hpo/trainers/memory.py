"""Whether the trainers fit into this host's memory, checked before the first one starts."""

from __future__ import annotations

from pathlib import Path

import psutil

from hpo.errors import DeviceError

__all__ = ["FORKED_BYTES", "IMPORTED_BYTES", "available_bytes", "check_memory"]

IMPORTED_BYTES = 230 * 2**20
"""What a process needs with torch loaded and the smallest data set (unique set size, measured on Linux). Less is never
enough, so a refused search would certainly have run out of memory."""
FORKED_BYTES = 30 * 2**20
"""What a trainer needs for itself that was forked from such a process: the least that one had after a few trials."""
_GROUP = Path("/sys/fs/cgroup")


def check_memory(trainers: int, free_bytes: int, *, ranks: int = 0) -> None:
    """Raise DeviceError when these cannot fit into `free_bytes`, whatever they train.

    trainers: forked from one process that has imported torch; ranks: programs that import it each for itself
    """
    shared = IMPORTED_BYTES if trainers else 0
    needed = shared + trainers * FORKED_BYTES + ranks * IMPORTED_BYTES
    if needed <= free_bytes:
        return
    fit = (free_bytes - shared) // FORKED_BYTES if not ranks else free_bytes // IMPORTED_BYTES
    raise DeviceError(
        f"{trainers + ranks} trainers do not fit into this host's memory",
        evidence=[
            f"free   {free_bytes / 2**30:.1f} GiB, the container's limit included",
            f"needed {needed / 2**30:.1f} GiB at least: {IMPORTED_BYTES // 2**20} MiB for torch"
            + (f", in each of {ranks} ranks" if ranks else f", and {FORKED_BYTES // 2**20} MiB for each"),
        ],
        next=f"give --trainers {fit} or fewer" if fit > 0 else "free memory first: not even one trainer fits",
    )


def available_bytes(group: Path = _GROUP) -> int:
    """How much more memory processes here can take: what is free on the host, or what the container's limit leaves."""
    free = int(psutil.virtual_memory().available)
    try:
        limit = (group / "memory.max").read_text().strip()
        if limit == "max":
            return free
        used = int((group / "memory.current").read_text())
        cached = dict(line.split() for line in (group / "memory.stat").read_text().splitlines())
        return min(free, int(limit) - used + int(cached.get("inactive_file", 0)))
    except (OSError, ValueError):
        return free  # no cgroup of version 2

"""Whether the trainers fit into this host's memory, checked before the first one starts."""

from __future__ import annotations

from pathlib import Path

import psutil

from hpo.errors import DeviceError

__all__ = ["TRAINER_BYTES", "available_bytes", "check_memory"]

TRAINER_BYTES = 230 * 2**20
"""What a trainer needs with torch loaded and the smallest data set (unique set size, measured on Linux). Less is
never enough, so a refused search would certainly have run out of memory."""
_GROUP = Path("/sys/fs/cgroup")


def check_memory(trainers: int, free_bytes: int) -> None:
    """Raise DeviceError when `trainers` cannot fit into `free_bytes`, whatever they train."""
    if trainers * TRAINER_BYTES <= free_bytes:
        return
    fit = free_bytes // TRAINER_BYTES
    raise DeviceError(
        f"{trainers} trainers do not fit into this host's memory",
        evidence=[
            f"free   {free_bytes / 2**30:.1f} GiB, the container's limit included",
            f"needed {trainers * TRAINER_BYTES / 2**30:.1f} GiB at least: {TRAINER_BYTES // 2**20} MiB for each",
        ],
        next=f"give --trainers {fit} or fewer" if fit else "free memory first: not even one trainer fits",
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

"""Which process a worker is, so that a later worker on the same machine can be certain that it is gone."""

from __future__ import annotations

import os
import socket
import time
import uuid
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import psutil

__all__ = ["Identity", "is_gone", "own_identity"]


@dataclass(frozen=True)
class Identity:
    """boot_id and pid_namespace say in which machine and container `pid` is valid; started detects a reused pid.

    machine_id: of the installation, "" where it has none. Alone it proves nothing: clones and images share it
    started: on the kernel's clock since boot if there is one, because the wall clock may be changed meanwhile
    """

    host: str
    boot_id: str
    pid_namespace: str
    pid: int
    started: float
    machine_id: str = ""

    def as_json(self) -> dict[str, Any]:
        return asdict(self)

    @cached_property
    def worker_id(self) -> str:
        """Stays the same for the life of this object: leases, liveness and the journal are kept under it."""
        return f"{self.host}:{self.pid}:{uuid.uuid4().hex[:8]}"


def own_identity() -> Identity:
    return Identity(
        host=socket.gethostname(),
        boot_id=_boot_id(),
        pid_namespace=_pid_namespace(),
        pid=os.getpid(),
        started=_started(os.getpid()),
        machine_id=_machine_id(),
    )


def is_gone(other: Mapping[str, Any], here: Identity, silent_seconds: float, live_seconds: float) -> bool:
    """True only when `other` ran in this boot and pid namespace and its process no longer exists, or ran in an earlier
    boot of this very machine.

    A name proves nothing: cloned machines, and containers with a fixed hostname, share it. A process of an earlier boot
    was last seen before this boot, and not in the last `live_seconds`, which is how long a lease lasts.
    """
    if (other.get("boot_id"), other.get("pid_namespace")) != (here.boot_id, here.pid_namespace):
        named = [(other.get(name), getattr(here, name)) for name in ("host", "machine_id")]
        this_machine = all(theirs == ours and ours for theirs, ours in named)
        earlier = bool(other.get("boot_id")) and other.get("boot_id") != here.boot_id
        return this_machine and earlier and silent_seconds >= max(live_seconds, _seconds_since_boot())
    try:
        process = psutil.Process(int(other["pid"]))
        reused = abs(_started(process.pid) - float(other["started"])) > 1.0
        return bool(reused or process.status() == psutil.STATUS_ZOMBIE)
    except (psutil.NoSuchProcess, KeyError, ValueError):
        return True


def _started(pid: int) -> float:
    """In seconds; comparable only with another value of the same machine and boot."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except FileNotFoundError:
        return float(psutil.Process(pid).create_time())
    return int(fields[19]) / os.sysconf("SC_CLK_TCK")


def _machine_id() -> str:
    for path in ("/etc/machine-id", "/var/lib/dbus/machine-id"):
        with suppress(OSError):
            return Path(path).read_text().strip()
    return ""


def _seconds_since_boot() -> float:
    return time.clock_gettime(time.CLOCK_BOOTTIME)  # asleep it counts on, as the database's clock does


def _boot_id() -> str:
    path = Path("/proc/sys/kernel/random/boot_id")
    return path.read_text().strip() if path.exists() else str(psutil.boot_time())


def _pid_namespace() -> str:
    try:
        return os.readlink("/proc/self/ns/pid")
    except OSError:
        return ""

"""Whether a program ran out of memory: it said so as it ended, or the kernel killed something for want of it."""

from __future__ import annotations

import re
import signal
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

__all__ = ["kernel_kills", "ran_out_of_memory", "sign_of"]

_SIGNS = re.compile(
    r"CUDA out of memory|OutOfMemoryError|\b_?(Array)?MemoryError\b"
    r"|DefaultCPUAllocator: (can't allocate|not enough) memory"
    r"|CUBLAS_STATUS_ALLOC_FAILED|CUDA_ERROR_OUT_OF_MEMORY|RESOURCE_EXHAUSTED: Out of memory|std::bad_alloc"
)
"""torch, Python, NumPy, cuBLAS, CUDA itself, JAX and TensorFlow, C++; Java says OutOfMemoryError too."""
_KILLED = (-signal.SIGKILL, 128 + signal.SIGKILL)  # itself, or a program that its shell ran


def kernel_kills() -> int:
    """How many processes the kernel has killed for want of memory, of this control group or else of this machine.

    A count of the whole machine also has those of others, so it says something only about a program that was killed.
    """
    counts = [*_events(Path("/proc/self/cgroup")), Path("/sys/fs/cgroup/memory.events"), Path("/proc/vmstat")]
    total = 0
    for path in dict.fromkeys(counts):
        with suppress(OSError, ValueError):
            lines = dict(line.split()[:2] for line in path.read_text().splitlines())
            total += int(lines.get("oom_kill", 0))
    return total


def ran_out_of_memory(code: int, last_lines: Sequence[str], kills: int) -> bool:
    """kills: by the kernel, since the program started. What went well ran out of nothing."""
    if code == 0:
        return False
    return (code in _KILLED and kills > 0) or any(map(_SIGNS.search, last_lines))


def sign_of(last_lines: Sequence[str]) -> str:
    """The line that says so; "" where the kernel did it."""
    return next((line.strip() for line in reversed(last_lines) if _SIGNS.search(line)), "")


def _events(groups: Path) -> list[Path]:
    """Of the control group that this process is in; version 1 has its own file."""
    found = []
    with suppress(OSError):
        for line in groups.read_text().splitlines():
            _, controllers, group = [*line.split(":", 2), "", ""][:3]
            if not controllers:
                found.append(Path(f"/sys/fs/cgroup{group}/memory.events"))
            elif "memory" in controllers.split(","):
                found.append(Path(f"/sys/fs/cgroup/memory{group}/memory.oom_control"))
    return found

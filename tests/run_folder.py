"""One folder for all that a test run puts into the temporary folder, and the end of what a killed run has left.

A run that is killed cannot clean up, but its lock goes with it: the next run sees that nobody owns the folder. Where
there is room, the folder lies in memory: on one machine a database for a test took 0.2 s on the disk, and 0.02 there.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tempfile
from pathlib import Path

import psutil

from hpo.storage.embedded.embedded import stop_embedded

__all__ = ["end_killed_runs", "own_folder"]

PREFIX = "hpo-tests-"
OWNER = "owner"  # a file in the folder that its run keeps locked

MEMORY = Path("/dev/shm")
ROOM = 6 << 30  # bytes; a whole run of four processes takes up to 2.7 GB


def own_folder() -> Path:
    """A new folder that belongs to this process for as long as it lives."""
    folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=_place()))
    folder.chmod(0o711)  # run by root, PgBouncer and PostgreSQL are other accounts, with folders of their own in it
    fresh = folder / "owner.new"
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    fresh.rename(folder / OWNER)  # so that nobody sees it without the lock
    return folder


def end_killed_runs() -> None:
    """End the processes and servers of runs that are no more, and remove their folders."""
    for folder in (one for place in {Path(tempfile.gettempdir()), MEMORY} for one in place.glob(f"{PREFIX}*")):
        with contextlib.suppress(OSError):  # in use, or just removed by its run
            if _is_a_runs(folder):
                with (folder / OWNER).open() as file:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    _end(folder)


def _place() -> Path | None:
    """Memory, unless TMPDIR says where, it is short, or nothing there may be executed, as in a container."""
    if "TMPDIR" in os.environ or not os.access(MEMORY, os.W_OK) or os.statvfs(MEMORY).f_flag & os.ST_NOEXEC:
        return None
    free = min(shutil.disk_usage(MEMORY).free, psutil.virtual_memory().available // 2)
    return MEMORY if free >= ROOM else None


def _is_a_runs(folder: Path) -> bool:
    """Whether it is this user's own folder, no link to one, and with no file system mounted in it."""
    mounted = any(Path(one.mountpoint).is_relative_to(folder) for one in psutil.disk_partitions(all=True))
    return not folder.is_symlink() and folder.stat().st_uid == os.geteuid() and not mounted


def _end(folder: Path) -> None:
    """Nothing runs for `folder`, and it is gone."""
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if process.pid != os.getpid() and _belongs(process, folder):
                process.kill()
    for pid_file in folder.rglob("postgres/postmaster.pid"):
        stop_embedded(pid_file.parents[1])
    shutil.rmtree(folder, ignore_errors=True)


def _belongs(process: psutil.Process, folder: Path) -> bool:
    """All that tests start has TMPDIR from them.

    Not PostgreSQL, which writes its title over its environment and is stopped in its own way.
    """
    place = process.environ().get("TMPDIR")
    return place is not None and Path(place).is_relative_to(folder)

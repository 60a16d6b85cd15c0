"""The embedded server's log, kept small while the server writes it."""

from __future__ import annotations

import contextlib
import fcntl
import os
import stat
import threading
from pathlib import Path

__all__ = ["MOST_BYTES", "LogKeeper", "rotate"]

MOST_BYTES = 8 << 20
LOOK_SECONDS = 30.0


def rotate(log: Path) -> bool:
    """If `log` has more than MOST_BYTES, move its content to `log`.1 and empty it. True if it did.

    The server has the file open for appending and writes on at its new end; what it writes at this very moment may be
    lost. One process does it, however many try. A link, or a file that also has another name, is left alone.
    """
    try:
        descriptor = os.open(log, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode) or found.st_nlink != 1 or found.st_size <= MOST_BYTES:
            return False
        _copy(descriptor, found, log.with_name(f"{log.name}.1"))
        os.ftruncate(descriptor, 0)
        return True
    except OSError:  # another process does it, or the disk is full: later
        return False
    finally:
        os.close(descriptor)


class LogKeeper:
    """Looks at a log now and then in a thread of its own, until `stop` or the end of the process."""

    def __init__(self, log: Path) -> None:
        self._log = log
        self._stopped = threading.Event()
        threading.Thread(target=self._run, name="postgres.log", daemon=True).start()

    def stop(self) -> None:
        self._stopped.set()

    def _run(self) -> None:
        while not self._stopped.wait(LOOK_SECONDS):
            rotate(self._log)


def _copy(descriptor: int, found: os.stat_result, to: Path) -> None:
    """The end of a log, as a new file with the same owner: a log that nobody looked at for days may be gigabytes."""
    temporary = to.with_name(f".{to.name}.{os.getpid()}")
    copy = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        if os.geteuid() == 0:
            os.fchown(copy, found.st_uid, found.st_gid)
        os.write(copy, os.pread(descriptor, MOST_BYTES, found.st_size - MOST_BYTES))
        os.replace(temporary, to)
    finally:
        os.close(copy)
        with contextlib.suppress(FileNotFoundError):
            temporary.unlink()

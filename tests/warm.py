"""Processes forked from one that has imported hpo, Optuna and torch: for tests that start many.

A coordinator imports for 0.6 s of a core, and what its trainers are forked from for 2 s; a fork takes 0.02 s. Otherwise
they are what a command line starts, with arguments, environment, folder, limits, ignored signals and output of their
own. Only other programs see the difference: in their command line, their first environment and their parent.

Run as a program, `warm.py --fd N`, it is the process that they are forked from: hpo.fork_server with other children.
"""

from __future__ import annotations

import atexit
import json
import os
import resource
import runpy
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from multiprocessing.connection import wait
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NoReturn

import psutil

from hpo.trainers.forked import _LIMITS as LIMITS
from hpo.trainers.forked import ENDED, NUMBER

__all__ = ["WarmProcess", "can_be_warm", "servers_of", "start_warm"]

ROOT = Path(__file__).parents[1]
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD)

READ_AT_IMPORT = ("ATEN_", "CUDA_", "KMP_", "LD_", "MKL_", "OMP_", "ONEDNN_", "OPENBLAS_", "PYTHONHASHSEED", "TORCH_")
"""Beginnings of variables that make another process of one that imports torch."""


class WarmProcess:
    """What subprocess.Popen is, as far as it is asked for here."""

    def __init__(self, asked: socket.socket, request: Mapping[str, Any], channel: int, output: int) -> None:
        inherited = {
            "limits": [resource.getrlimit(number) for number in LIMITS],
            "ignored": [number for number in SIGNALS if signal.getsignal(number) is signal.SIG_IGN],
            "owner": os.getpid(),
        }
        self.returncode: int | None = None
        self._told, tell = os.pipe()
        with open(tell, "wb") as pipe, open(os.memfd_create("request"), "w+b") as file:
            file.write(json.dumps({**request, **inherited}).encode())
            file.seek(0)
            socket.send_fds(asked, [b"f"], [file.fileno(), channel, pipe.fileno(), output])
        self.pid: int = NUMBER.unpack(os.read(self._told, NUMBER.size))[0]

    def poll(self) -> int | None:
        if self.returncode is None and wait([self._told], 0):
            said = os.read(self._told, ENDED.size)
            self.returncode = os.waitstatus_to_exitcode(ENDED.unpack(said)[1]) if said else -signal.SIGKILL
            os.close(self._told)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        if self.returncode is None:
            wait([self._told], timeout)
        code = self.poll()
        if code is None:
            raise subprocess.TimeoutExpired("hpo", timeout or 0.0)
        return code

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


class _Nursery:
    """The process that they are forked from. It ends with the last who may ask it."""

    def __init__(self) -> None:
        self.environ = dict(os.environ)
        self.socket, theirs = socket.socketpair()
        with theirs:
            self.process = subprocess.Popen(
                [sys.executable, __file__, "--fd", str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                env={**self.environ, "PYTHONPATH": str(ROOT)},
                stdin=subprocess.DEVNULL,
            )


_nursery: _Nursery | None = None


def can_be_warm(environ: Mapping[str, str]) -> bool:
    """Whether an import does the same with this environment as where it was done."""
    return _read_at_import(environ) == _read_at_import(_the_nursery().environ)


def _read_at_import(environ: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in environ.items() if name.startswith(READ_AT_IMPORT)}


def _the_nursery() -> _Nursery:
    global _nursery
    if _nursery is None or _nursery.process.poll() is not None:
        _nursery = _Nursery()
    return _nursery


def start_warm(command: Sequence[str], folder: Path, environ: Mapping[str, str], output: int) -> WarmProcess:
    """`python` with these arguments in this folder: a file, or -m and a module. Its output goes to `output`."""
    nursery = _the_nursery()
    request = {"command": list(command), "server": False, "environ": dict(environ), "folder": str(folder)}
    return WarmProcess(nursery.socket, request, nursery.socket.fileno(), output)


def servers_of(pid: int) -> list[psutil.Process]:
    """What trainers of the coordinator with this number are forked from."""
    below = [] if _nursery is None else psutil.Process(_nursery.process.pid).children()
    return [child for child in below if child.name() == f"of {pid}"]


# In the process that is forked from, and in what is forked from it.


def _main() -> None:
    import hpo.cli.run
    import hpo.search.budget
    import hpo.search.search  # noqa: F401
    from hpo import fork_server

    fork_server._train = partial(_become, fork_server._train)  # type: ignore[assignment]
    fork_server.main()


def _become(
    train: Callable[..., NoReturn], request: Mapping[str, Any], added: Mapping[str, str], channel: int, output: int
) -> NoReturn:
    from hpo import fork_server
    from hpo.trainers import forked

    fork_server._train = train
    for number, limit in zip(LIMITS, request["limits"], strict=True):
        resource.setrlimit(number, limit)
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for number in SIGNALS:
        if number in request["ignored"]:
            signal.signal(number, signal.SIG_IGN)
        elif number != signal.SIGINT:
            signal.signal(number, signal.SIG_DFL)
    os.chdir(request["folder"])
    os.environ.clear()
    os.dup2(output, 2)
    os.close(output)
    if request["server"]:
        os.setpgid(0, 0)
        Path("/proc/self/comm").write_text(f"of {request['owner']}")
        os.environ.update({**added, **request["environ"]})
        _run(partial(_serve, [*request["command"][:-1], str(channel)]))
    os.dup2(2, 1)
    os.environ.update(request["environ"])
    server = partial(_server, socket.socket(fileno=channel))
    forked.subprocess = SimpleNamespace(**{**vars(subprocess), "Popen": server})  # type: ignore[assignment]
    _run(partial(_execute, request["command"]))


def _serve(command: Sequence[str]) -> None:
    """FILE hpo.fork_server --fd N; what FILE would import is there."""
    from hpo import fork_server

    sys.argv[:] = command
    _look_in()
    if Path(command[0]).name == "run_module.py":
        fork_server.main(command[2:])
    runpy.run_path(command[0], run_name="__main__")


def _execute(command: Sequence[str]) -> None:
    """`python` with these arguments."""
    module = command[0] == "-m"
    sys.argv[:] = command[module:]
    sys.orig_argv[:] = [sys.executable, *command]
    _look_in(os.getcwd() if module else str(Path(command[0]).parent))
    if module:
        runpy.run_module(command[1], run_name="__main__", alter_sys=True)
    else:
        runpy.run_path(command[0], run_name="__main__")


def _look_in(*folders: str) -> None:
    """For modules: there, in those of PYTHONPATH, and where they were installed."""
    given = [one for one in os.environ.get("PYTHONPATH", "").split(os.pathsep) if one]
    sys.path[:] = [*folders, *given, *(one for one in sys.path[1:] if one not in (str(ROOT), *given))]


def _run(program: Callable[[], None]) -> NoReturn:
    """From here to the end of this process."""
    code = 1
    try:
        program()
        code = 0
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else int(error.code is not None)
    except BaseException:  # noqa: BLE001 - as at the end of any process
        sys.excepthook(*sys.exc_info())  # type: ignore[arg-type]
    finally:
        with suppress(BaseException):
            threading._shutdown()  # type: ignore[attr-defined]
            atexit._run_exitfuncs()
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


def _server(asked: socket.socket, command: Sequence[str], *, env: Mapping[str, str], **_: object) -> WarmProcess:
    """As subprocess.Popen for `python -P FILE hpo.fork_server --fd N`."""
    request = {"command": list(command[2:]), "server": True, "environ": dict(env), "folder": os.getcwd()}
    return WarmProcess(asked, request, int(command[-1]), 2)


if __name__ == "__main__":
    _main()

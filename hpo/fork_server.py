"""The process that trainers are forked from: `python -m hpo.fork_server --fd N`. It has imported torch for all of them.

Importing torch takes one to two seconds of a core, a fork milliseconds: a trainer that replaces a lost one is there at
once, and those of one host share the memory of what was imported. This process starts no thread, computes nothing and
opens no device, which a fork could not take along; it runs none of the user's code.

A request is one byte over the socket N, with four descriptors: a file with a Request of hpo.trainers.forked as JSON,
the trainer's end of its socket to the coordinator, a pipe for what becomes of it, and its stderr. Into the pipe the
trainer writes its process's number before anything else, so that a pipe that closes without one says that there is no
trainer; and the server the status it ended with, as `waitpid` has it. Once the socket is closed, the server ends with
the last trainer, which leaves by itself when its coordinator is gone.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import signal
import socket
import sys
import traceback
from collections.abc import Mapping, Sequence
from contextlib import suppress
from multiprocessing.connection import wait
from typing import NoReturn

import numpy as np

import hpo.trainer
from hpo.signals import pass_over_signals
from hpo.trainers.forked import ENDED, NUMBER, Request

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    parser = argparse.ArgumentParser(prog="python -m hpo.fork_server", description="Started by hpo's coordinator.")
    parser.add_argument("--fd", type=int, required=True, help="the inherited socket")
    options = parser.parse_args(arguments)
    pass_over_signals()
    # What torch's import has changed in the environment is for every trainer; hpo.trainer says why.
    with open("/proc/self/environ", "rb") as file:
        given = file.read().split(b"\0")
    added = {name: value for name, value in os.environ.items() if os.fsencode(f"{name}={value}") not in given}
    gc.collect()
    gc.freeze()  # a collection in a trainer would write to the memory that it shares
    _ForkServer(socket.socket(fileno=options.fd), added).serve()
    os._exit(0)  # what was imported says goodbye in many lines


class _ForkServer:
    """added: to the environment of every trainer, where its own does not say otherwise"""

    def __init__(self, requests: socket.socket, added: Mapping[str, str]) -> None:
        self._requests = requests
        self._added = added
        self._pipes: dict[int, int] = {}  # by the process's number
        self._woken, self._wake = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(self._wake, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda number, frame: None)

    def serve(self) -> None:
        wanted = True
        while wanted or self._pipes:
            ready = wait([self._woken, *([self._requests] if wanted else [])])
            if self._woken in ready:
                with suppress(BlockingIOError):
                    os.read(self._woken, 4096)
                self._tell_ends()
            if self._requests in ready:
                wanted = self._answer()

    def _tell_ends(self) -> None:
        while self._pipes:
            number, status = os.waitpid(-1, os.WNOHANG)
            if not number:
                return
            _tell(self._pipes[number], ENDED.pack(-number, status))
            os.close(self._pipes.pop(number))

    def _answer(self) -> bool:
        """Fork a trainer; False once nobody asks any more."""
        try:
            word, descriptors, _, _ = socket.recv_fds(self._requests, 1, 4)
        except OSError:
            return False
        if not word:
            return False
        file, channel, pipe, stderr = descriptors
        with open(file, "rb") as stream:
            request: Request = json.loads(stream.read())
        try:
            number = os.fork()
        except OSError as error:
            print(f"error: no process can be forked: {error}", file=sys.stderr)  # noqa: T201
            os.close(pipe)
        else:
            if not number:
                _tell(pipe, NUMBER.pack(os.getpid()))
                os.close(pipe)
                self._forget()
                _train(request, self._added, channel, stderr)
            self._pipes[number] = pipe
        os.close(channel)
        os.close(stderr)
        return True

    def _forget(self) -> None:
        """In a trainer: what is this process's alone."""
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        self._requests.close()
        for number in (self._woken, self._wake, *self._pipes.values()):
            os.close(number)


def _tell(pipe: int, words: bytes) -> None:
    with suppress(OSError):  # a coordinator that no longer wants to know
        os.write(pipe, words)


def _train(request: Request, added: Mapping[str, str], channel: int, stderr: int) -> NoReturn:
    """Be the trainer, as if `request` were this process's command, environment and folder from the start."""
    code = 1
    try:
        os.setpgid(0, 0)
        os.dup2(stderr, 2)
        os.close(stderr)
        os.environ.clear()
        os.environ.update({**added, **request["environ"]})
        os.chdir(request["folder"])
        arguments = [*request["command"], "--fd", str(channel)]
        sys.orig_argv[:] = arguments
        sys.argv[:] = arguments[arguments.index("hpo.trainer") :]
        sys.modules["__main__"] = hpo.trainer
        np.random.seed()  # as a process of its own has it; Python's `random` sees to that itself, torch begins alike
        code = hpo.trainer.main(sys.argv[1:])
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else 1
    except BaseException:  # noqa: BLE001 - as at the end of any process
        traceback.print_exc()
    finally:
        with suppress(OSError, ValueError):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    main()

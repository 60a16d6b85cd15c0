"""A trainer process as its coordinator sees it: started, sent messages, killed, and its death explained."""

from __future__ import annotations

import signal
import socket
import subprocess
import threading
from collections.abc import Mapping, Sequence
from multiprocessing.connection import Connection

from hpo.commands.descendants import descendants, end_leftovers
from hpo.errors import DeviceError
from hpo.messages import Message, decode, encode
from hpo.trainers.forked import ForkedProcess, command_of, fork_trainer
from hpo.trainers.gpus import shown

__all__ = [
    "COMMAND_TRAINER",
    "GANG_TRAINER",
    "TRAINER",
    "TrainerProcess",
    "next_after",
    "trainer_environment",
]


TRAINER = command_of("hpo.trainer")
COMMAND_TRAINER = command_of("hpo.command_trainer")
GANG_TRAINER = command_of("hpo.gang_trainer")


def next_after(how: str) -> str:
    """The next step after a trainer that ended as `close` says. A device kills; code that exits is the study's."""
    doctor = "`hpo doctor` tests the devices"
    if how == f"exit code {DeviceError.exit_code}" or not how.startswith("exit code"):  # the first names its device
        return doctor
    return f"look for what ends the process in the study's data and model, such as os._exit; {doctor}"


# Two one-thread trainers beat one two-thread trainer by 1.3 to 1.9 times on two cores, and two with default threads
# collapse to a twentieth, so whatever the user's shell sets, a trainer gets one.
ONE_THREAD = {
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "NUMEXPR_NUM_THREADS": "1",
    "VECLIB_MAXIMUM_THREADS": "1",
    "OMP_WAIT_POLICY": "PASSIVE",
}
_DROPPED = ("KMP_AFFINITY", "GOMP_CPU_AFFINITY", "OMP_PROC_BIND", "OMP_PLACES")
_SECRET = ("HPO_STORAGE", "PGPASSWORD", "HPO_DASHBOARD_PASSWORD", "HPO_NOTIFY")


class TrainerProcess:
    """Owns one child and the coordinator's end of its socket.

    fork: whether a TRAINER may be forked from a process that has imported torch already
    """

    def __init__(
        self,
        device: str,
        *,
        command: Sequence[str] = TRAINER,
        arguments: Sequence[str] = (),
        environ: Mapping[str, str],
        fork: bool = True,
    ) -> None:
        self._sending = threading.Lock()
        device, environ = shown(device, environ)
        ours, theirs = socket.socketpair()
        command = [*command, "--device", device, *arguments]
        environ = trainer_environment(environ)
        self._process: subprocess.Popen[bytes] | ForkedProcess
        with theirs:
            if fork and command[: len(TRAINER)] == list(TRAINER):
                self._process = fork_trainer(command, environ, theirs.fileno())
            else:
                self._process = subprocess.Popen(
                    [*command, "--fd", str(theirs.fileno())],
                    pass_fds=(theirs.fileno(),),
                    stdin=subprocess.DEVNULL,
                    env=environ,
                    process_group=0,  # the coordinator handles Ctrl-C in a terminal, also while torch is imported
                )
        self.connection = Connection(ours.detach())

    @property
    def pid(self) -> int | None:
        """None before it has begun."""
        return self._process.pid

    def send(self, message: Message) -> bool:
        """False when the trainer is gone, which its closed connection shows too."""
        try:
            with self._sending:  # the loop and the thread that answers an objective
                self.connection.send_bytes(encode(message))
        except OSError:
            return False
        return True

    def receive(self) -> Message | None:
        """The next message; None when the connection is closed."""
        try:
            return decode(self.connection.recv_bytes())
        except (EOFError, OSError, ValueError):  # ValueError: something else has written to the socket
            return None

    @property
    def ended_with(self) -> int:
        """Once it has ended: its exit code, or -9 for SIGKILL."""
        return self._process.wait()

    def close(self) -> str:
        """Kill the child if it still runs, and say how it ended."""
        try:
            # Its socket may close a moment before its exit status is known: without this wait it would look killed.
            self._process.wait(0.5)
        except subprocess.TimeoutExpired:
            self.end()
        return self.kill()

    def end(self) -> None:
        """Kill the child, and end what its training has started; its closed connection shows that."""
        # Once it is known to have ended, its number may be another process's.
        below = descendants(pid) if (pid := self.pid) is not None and self._process.poll() is None else []
        self._process.kill()
        end_leftovers(below)

    def kill(self) -> str:
        """The same at once, and say how it ended."""
        self.end()
        code = self._process.wait()
        self.connection.close()
        if code >= 0:
            return f"exit code {code}"
        try:
            return f"signal {signal.Signals(-code).name}"
        except ValueError:
            return f"signal {-code}"


def trainer_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """What a trainer inherits from `environ`: one thread, and no secret."""
    # Trainers never talk to the database, so they get no password to leak.
    kept = {name: value for name, value in environ.items() if name not in _DROPPED + _SECRET}
    return {**kept, **ONE_THREAD}

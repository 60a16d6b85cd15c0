"""A trainer that is no process of its own: the main thread of `hpo run --debug`, where a debugger has the terminal."""

from __future__ import annotations

import os
import queue
import socket
import threading
from multiprocessing.connection import Connection

from hpo.errors import DeviceError
from hpo.messages import Job, Message
from hpo.trainers.process import TrainerProcess

__all__ = ["ForegroundTrainer"]


class ForegroundTrainer(TrainerProcess):
    """What the coordinator, in another thread, takes for a process.

    theirs:  the trainer's end of the socket
    devices: the device to train on, once that is known; None where the coordinator has ended before
    number:  of the trial that it was given; None before
    """

    def __init__(self) -> None:
        self._sending = threading.Lock()
        self._socket, theirs = socket.socketpair()
        self.connection, self.theirs = Connection(os.dup(self._socket.fileno())), Connection(theirs.detach())
        self.devices: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self.number: int | None = None
        self._started = False

    def start(self, device: str) -> ForegroundTrainer:
        """Raises DeviceError the second time: nobody starts it again."""
        if self._started:
            raise DeviceError("the trial in the foreground was left")
        self._started = True
        self.devices.put(device)
        return self

    @property
    def pid(self) -> int:
        return os.getpid()

    def send(self, message: Message) -> bool:
        if isinstance(message, Job):
            self.number = message.number
        return super().send(message)

    def hang_up(self) -> None:
        """Close the connection for both ends; one that waits for a message wakes up. Any thread may do this."""
        self._socket.shutdown(socket.SHUT_RDWR)

    def close(self) -> str:
        return self.kill()

    def end(self) -> None:
        """Nothing ends it but its user."""

    def kill(self) -> str:
        """Hang up: the trial ends at its next step, or when it next says or asks something."""
        self.hang_up()
        self.connection.close()
        return "left by its user"

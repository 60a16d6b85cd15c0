"""Signals and other threads reach a loop that sleeps in `multiprocessing.connection.wait` through one socket."""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Protocol

__all__ = ["Interruptible", "caught_signals", "waker"]


class Interruptible(Protocol):
    """A loop that ends in order soon after `interrupted` is set."""

    interrupted: bool


def waker(end: socket.socket) -> Callable[[], None]:
    def wake() -> None:
        with suppress(OSError):  # full, so the loop is about to wake anyway; or closed, so it is over
            end.send(b"x")

    return wake


@contextmanager
def caught_signals(target: Interruptible, wakeup: socket.socket) -> Iterator[list[int]]:
    """Ctrl-C and SIGTERM put every trial down safely; a second one leaves at once.

    A SIGTERM within a second of the first is the same one: engines send it to a process, its group and its container.
    """
    received: list[int] = []
    first_at = 0.0
    if threading.current_thread() is not threading.main_thread():
        yield received  # a notebook's worker thread: signals are not ours to take
        return

    def handle(number: int, _frame: object) -> None:
        nonlocal first_at
        if received:
            if number == signal.SIGTERM and time.monotonic() - first_at < 1.0:
                return
            os._exit(128 + number)
        first_at = time.monotonic()
        received.append(number)
        target.interrupted = True

    before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    old_wakeup = signal.set_wakeup_fd(wakeup.fileno(), warn_on_full_buffer=False)
    try:
        yield received
    finally:
        signal.set_wakeup_fd(old_wakeup)
        for number, handler in before.items():
            signal.signal(number, handler)

"""One socket through which signals and other threads wake a loop that sleeps in `multiprocessing.connection.wait`."""

from __future__ import annotations

import os
import signal
import socket
import stat
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Protocol

__all__ = [
    "Interruptible",
    "caught_signals",
    "hear_signals_in_forks",
    "leave_on",
    "pass_over_signals",
    "signals_to_leave",
    "waker",
    "why_left",
]

_REASONS = {signal.SIGINT: "interrupted", signal.SIGTERM: "terminated", signal.SIGHUP: "hangup"}


class Interruptible(Protocol):
    """A loop that ends in good order soon after `interrupted` is set."""

    interrupted: bool


def waker(end: socket.socket) -> Callable[[], None]:
    def wake() -> None:
        with suppress(OSError):  # full, so the loop is about to wake anyway; or closed, so it is over
            end.send(b"x")

    return wake


@contextmanager
def caught_signals(target: Interruptible, wakeup: socket.socket) -> Iterator[list[int]]:
    """Ctrl-C, SIGTERM and SIGHUP set `target.interrupted`, so that it ends in good order; a second one exits at once.

    A SIGTERM within a second of the first counts as the same: engines send it to a process, its group and its
    container. A terminal that closes and its shell send SIGHUP twice in the same way.
    """
    received: list[int] = []
    first_at = 0.0
    if threading.current_thread() is not threading.main_thread():
        yield received  # a notebook's worker thread cannot handle signals
        return

    def handle(number: int, _frame: object) -> None:
        nonlocal first_at
        if received:
            if number != signal.SIGINT and time.monotonic() - first_at < 1.0:
                return
            os._exit(128 + number)
        first_at = time.monotonic()
        received.append(number)
        _forget_lost_terminal()
        target.interrupted = True

    before = {number: signal.signal(number, handle) for number in (signal.SIGINT, *signals_to_leave())}
    old_wakeup = signal.set_wakeup_fd(wakeup.fileno(), warn_on_full_buffer=False)
    try:
        yield received
    finally:
        signal.set_wakeup_fd(old_wakeup)
        for number, handler in before.items():
            signal.signal(number, handler)


def signals_to_leave() -> tuple[signal.Signals, ...]:
    """SIGTERM, and SIGHUP unless this process was started with it ignored, as `nohup` does."""
    ignored = signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    return (signal.SIGTERM,) if ignored else (signal.SIGTERM, signal.SIGHUP)


def leave_on(number: int, _frame: object = None) -> None:
    """A signal handler that makes an ordinary exit of it, so that exit handlers run."""
    _forget_lost_terminal()
    raise SystemExit(128 + number)


def why_left(received: Sequence[int]) -> str:
    """`interrupted` (Ctrl-C, and a stop without a signal), `terminated` or `hangup`."""
    return _REASONS[signal.Signals(received[0])] if received else "interrupted"


def _forget_lost_terminal() -> None:
    """Make sure that nothing fails from now on because the terminal is gone."""
    for descriptor in (1, 2):
        with suppress(OSError):
            if stat.S_ISCHR(os.fstat(descriptor).st_mode) and not os.isatty(descriptor):
                os.dup2(os.open(os.devnull, os.O_WRONLY), descriptor)


def pass_over_signals() -> None:
    """In a trainer nothing comes of Ctrl-C, SIGTERM and SIGHUP, which are the coordinator's to decide about.

    Not by SIG_IGN, which a program that the trainer starts would inherit: it is to hear its SIGTERM.
    """
    for number in _REASONS:
        signal.signal(number, _pass_over)


def hear_signals_in_forks() -> None:
    """Undo that in every process that this one forks from now on: Process.terminate() is to end it."""
    os.register_at_fork(before=_hold_signals, after_in_parent=_take_signals, after_in_child=_hear_signals)


def _hold_signals() -> None:
    """One that comes before the fork hears it would be passed over."""
    signal.pthread_sigmask(signal.SIG_BLOCK, _REASONS)


def _take_signals() -> None:
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _REASONS)


def _hear_signals() -> None:
    for number in _REASONS:
        if signal.getsignal(number) is _pass_over:
            signal.signal(number, signal.SIG_DFL)
    _take_signals()


def _pass_over(number: int, frame: FrameType | None) -> None:
    """Nothing."""

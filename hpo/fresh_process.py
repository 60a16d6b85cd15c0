"""A trainer goes on as a fresh process: the same number, the same socket, nothing else of the old one.

A process whose CUDA context a kernel has ended, or whose recording of a step went wrong, cannot be trusted with the
next job. Its coordinator sees nothing of the change, so it blames no device for it.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import NoReturn

from hpo.messages import Message, decode, encode

__all__ = ["begin_anew", "carried"]


def begin_anew(received: Iterable[Message], unrecorded: Iterable[str], *, keep: int) -> NoReturn:
    """Replace this process by one with the same arguments; `carried` there gives `received` and `unrecorded`.

    keep: the file descriptor that stays open, beside stdin, stdout and stderr
    """
    with tempfile.TemporaryFile(prefix="hpo-carried-") as file:
        file.write(json.dumps([[encode(message).decode() for message in received], sorted(unrecorded)]).encode())
        file.flush()
        file.seek(0)
        sys.stdout.flush()
        sys.stderr.flush()
        for name in os.listdir("/proc/self/fd"):  # a driver's files, open any longer, would keep the memory of a GPU
            with suppress(OSError):  # the file that lists them is closed by now
                os.set_inheritable(int(name), int(name) in (0, 1, 2, keep, file.fileno()))
        arguments = _without(sys.orig_argv[1:], "--carried")
        os.execv(sys.executable, [sys.executable, *arguments, "--carried", str(file.fileno())])


def carried(number: int | None) -> tuple[list[Message], set[str]]:
    """What the process before this one left in the file of that number; nothing where there was none."""
    if number is None:
        return [], set()
    with open(number, "rb") as file:
        received, unrecorded = json.loads(file.read())
    return [decode(text.encode()) for text in received], set(unrecorded)


def _without(arguments: Sequence[str], option: str) -> list[str]:
    """`arguments` without `option` and its value."""
    if option not in arguments:
        return list(arguments)
    place = arguments.index(option)
    return [*arguments[:place], *arguments[place + 2 :]]

"""What trials print, for a log whose every line is an object: taken from descriptor 2, within bounds."""

from __future__ import annotations

import os
import select
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Self

__all__ = ["LINES_AT_ONCE", "LINE_BYTES", "Captured"]

LINES_AT_ONCE = 100
LINES_PER_SECOND = 10.0
LINE_BYTES = 2000
CHUNK_BYTES = 2**16
LOOK_SECONDS = 0.05
"""How long the end of the block may wait for what was printed last."""


class Captured:
    """In its block, lines that this process or one that it starts writes to descriptor 2 come to `take`.

    The first hundred, then ten a second, 2,000 bytes of each: a trial may print a gigabyte. take is called in a thread,
    with a line, or with "" and how many were left out since. write: one line to where descriptor 2 led before.
    """

    def __init__(self, take: Callable[[str, int], None], clock: Callable[[], float] = time.monotonic) -> None:
        self._take, self._clock = take, clock
        self._allowance, self._refilled = float(LINES_AT_ONCE), clock()
        self._begun, self._left_out = b"", 0
        self._writing, self._closing = threading.Lock(), threading.Event()

    def __enter__(self) -> Self:
        self._before = os.dup(2)
        self._read, theirs = os.pipe()
        os.dup2(theirs, 2)
        os.close(theirs)
        self._thread = threading.Thread(target=self._follow, name="output", daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.dup2(self._before, 2)
        self._closing.set()
        self._thread.join(1.0)  # longer only if nobody reads: both descriptors then stay the thread's

    def write(self, line: str) -> None:
        """Nothing happens where the reader is gone."""
        left = f"{line}\n".encode()
        try:
            with self._writing:
                while left:
                    left = left[os.write(self._before, left) :]
        except OSError:
            pass

    def _follow(self) -> None:
        while True:
            ready, _, _ = select.select([self._read], [], [], LOOK_SECONDS)
            if ready:
                chunk = os.read(self._read, CHUNK_BYTES)
                self._add(chunk)
                if chunk:
                    continue
            elif not self._closing.is_set():
                continue
            break
        if self._begun:
            self._line(self._begun)
        self._say_left_out()
        os.close(self._read)

    def _add(self, chunk: bytes) -> None:
        *lines, last = chunk.split(b"\n")
        for index, line in enumerate(lines):
            self._line(self._begun + line)
            self._begun = b""
            if self._left_out:  # no more for now: a gigabyte is counted, and not looked at
                self._left_out += len(lines) - index - 1
                break
        self._begun = (self._begun + last)[:LINE_BYTES]

    def _line(self, line: bytes) -> None:
        now = self._clock()
        self._allowance = min(LINES_AT_ONCE, self._allowance + (now - self._refilled) * LINES_PER_SECOND)
        self._refilled = now
        if self._allowance < 1.0:
            self._left_out += 1
        elif text := line[:LINE_BYTES].decode(errors="replace").rstrip():
            self._allowance -= 1.0
            self._say_left_out()
            self._take(text, 0)

    def _say_left_out(self) -> None:
        if self._left_out:
            self._take("", self._left_out)
            self._left_out = 0
